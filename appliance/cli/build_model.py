"""`appliance build-model`: make the embedding model from the weights in its package."""

import argparse
import importlib
from pathlib import Path

from appliance.domain.errors import ConfigError
from appliance.infra.onnx.spec import writable_dir

HELP = "build the embedding model (once, after installing)"
_BUILDER = "appliance.infra.onnx.build"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--dir, --force."""
    parser.add_argument(
        "--dir", type=Path, metavar="DIR", help="where to; [inference] model_dir then names it"
    )
    parser.add_argument("--force", action="store_true", help="build again what is already there")


def run(arguments: argparse.Namespace) -> int:
    """Build, unless it is built; a line per step."""
    try:
        # By name: it needs packages that an environment without the embedded default does not have.
        builder = importlib.import_module(_BUILDER)
    except ModuleNotFoundError as exc:
        if exc.name is None or exc.name.startswith("appliance"):
            raise
        raise ConfigError(
            f"building the model needs the package {exc.name}: "
            "pip install 'agent-gateway-appliance[embedded]'"
        ) from exc
    directory = arguments.dir or writable_dir()
    builder.build(
        directory.absolute(), force=arguments.force, say=lambda line: print(line, flush=True)
    )
    return 0
