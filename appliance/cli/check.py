"""`appliance check`: is the configuration valid, and what does it say?"""

import argparse
from fnmatch import fnmatchcase
from pathlib import Path

from appliance.config.dagster_home import refuse_unusable
from appliance.config.load import load_config, own_models, user_config_file
from appliance.config.schema import Config, ModelConfig
from appliance.domain.errors import ConfigError
from appliance.infra.backends import BACKENDS

HELP = "check a configuration file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """--config."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="default: the host's own")


def run(arguments: argparse.Namespace) -> int:
    """0 and a summary; an invalid file is one sentence with file, table and key, and 1."""
    config = load_config(arguments.config)
    own = user_config_file()
    name = arguments.config or (own if own.exists() else "the shipped defaults")
    for backend in config.backends:
        if backend.kind not in BACKENDS:
            raise ConfigError(
                f"{name}: [[backends]] {backend.name!r} kind: {backend.kind!r} is not one of "
                f"{', '.join(BACKENDS)}"
            )
    try:
        refuse_unusable(config)
    except ConfigError as exc:
        raise ConfigError(f"{name}: {exc}") from exc
    print(f"{name}: valid")
    print(_summary(config))
    return 0


def _summary(config: Config) -> str:
    default = config.routing.default_backend or "none"
    lines = [f"gateway   {config.gateway.listen}", f"default   {default}"]
    lines += [f"backend   {b.name:<16} {b.kind:<18} {b.base_url}" for b in config.backends]
    own = own_models(config)
    lines += [f"model     {model.match:<16} {_served(model, config)}" for model in own]
    lines.append(
        f"catalog   {len(config.models) - len(own)} rows of known models; "
        "`appliance routes NAME` says what applies"
    )
    if not config.backends:
        lines.append(
            "no [[backends]]: `appliance up` finds your own server, or brings a small model"
        )
    return "\n".join(lines)


def _served(model: ModelConfig, config: Config) -> str:
    """`local (as qwen3-8b-q4) -> openai (as gpt-4.1-mini)`: who is asked, in order, and under which
    name where it is another."""
    if not model.backend:
        return "described only"
    stops = [_stop(model.backend, model.upstream_model, config)]
    stops += [_stop(name, _name_on(name, model, config), config) for name in model.fallback]
    return " -> ".join(stops)


def _stop(backend: str, upstream: str, config: Config) -> str:
    if all(backend != known.name for known in config.backends):
        return f"{backend} (inactive: no such backend)"
    return f"{backend} (as {upstream})" if upstream else backend


def _name_on(fallback: str, model: ModelConfig, config: Config) -> str:
    """The name on a fallback, which its own row for this model gives; empty: the same."""
    rows = (r for r in config.models if r.backend == fallback and r.upstream_model)
    return next((r.upstream_model for r in rows if fnmatchcase(model.match, r.match)), "")
