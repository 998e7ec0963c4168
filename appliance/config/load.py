"""Read the configuration: the shipped defaults, then the user's file over them.

Errors name file, table and key.  Secrets are written `env:NAME` or `file:PATH` and resolved here; a
secret written out in a file is refused.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from appliance.config.explain import explain, row_words
from appliance.config.parts import read_parts, with_parts
from appliance.config.schema import Config, ModelConfig
from appliance.domain.errors import ConfigError
from appliance.domain.parsing.families import FAMILIES

_LISTS = ("backends", "models")
_PASSWORD = re.compile(r"password\s*=|://[^/@:]*:[^/@]+@")
_SECRETS = (
    ("backends", "api_key"),
    ("nats", "token"),
    ("gateway", "seal_secret"),
    ("moderation", "api_key"),
)


def shipped(name: str) -> Path:
    """A file of configs/, inside the wheel or in the checkout."""
    package = Path(__file__).resolve().parents[1]
    wheel = package / "_data" / "configs" / name
    return wheel if wheel.exists() else package.parent / "configs" / name


def user_config_file() -> Path:
    """The lasting configuration of this user: `$XDG_CONFIG_HOME/appliance/appliance.toml`."""
    base = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(base) / "appliance" / "appliance.toml"


def default_state() -> Path:
    """`$APPLIANCE_STATE`, else `$XDG_STATE_HOME/appliance`, else `~/.local/state/appliance`."""
    if named := os.environ.get("APPLIANCE_STATE"):
        return Path(named)
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "appliance"


def own_models(config: Config) -> tuple[ModelConfig, ...]:
    """The `[[models]]` of `config` that are not the shipped catalog's."""
    catalog = len(_read(shipped("models.toml"))["models"])
    return config.models[: len(config.models) - catalog]


def load_config(file: Path | None = None, *, state: Path | None = None) -> Config:
    """Defaults, the shipped catalog, then `file` (else the user's lasting file, if there is one),
    and with `state` the parts of the appliance running there.  `[[backends]]` and `[[models]]` of
    `file` come first."""
    chosen = file or (user_config_file() if user_config_file().exists() else None)
    tables = _merge(_read(shipped("appliance.toml")), _read(shipped("models.toml")))
    if chosen is not None:
        tables = _merge(tables, _read(chosen))
    config = _convert(tables, chosen or shipped("appliance.toml"))
    if state is not None:
        config = with_parts(config, read_parts(state))
    _check_names(config, chosen)
    return _with_default_backend(config)


def _with_default_backend(config: Config) -> Config:
    """The first backend is the default one, where nobody says otherwise."""
    if config.routing.default_backend or not config.backends:
        return config
    first = config.backends[0].name
    routing = msgspec.structs.replace(config.routing, default_backend=first)
    return msgspec.structs.replace(config, routing=routing)


def _read(path: Path) -> dict[str, Any]:
    """One file, checked on its own so that an error names it."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: is not valid TOML: {exc}") from exc
    resolved = _resolve(tables, path)
    _check_families(_convert(resolved, path), path)
    return resolved


def _convert(tables: Mapping[str, Any], path: Path) -> Config:
    try:
        return msgspec.convert(tables, Config)
    except msgspec.ValidationError as exc:
        raise ConfigError(f"{path}: {explain(str(exc), tables)}") from exc


def _resolve(tables: dict[str, Any], path: Path) -> dict[str, Any]:
    """Every `env:` and `file:` value becomes what it names; secrets may be written no other way."""
    for table, content in tables.items():
        if isinstance(content, dict):
            _resolve_row(content, table, f"{path}: [{table}]", path.parent)
        for number, row in enumerate(content if isinstance(content, list) else ()):
            if isinstance(row, dict):
                _resolve_row(row, table, f"{path}: {row_words(table, row, number)}", path.parent)
    if isinstance(gateway := tables.get("gateway"), dict) and gateway.get("keys_file"):
        gateway["keys_file"] = str(path.parent / Path(gateway["keys_file"]).expanduser())
    return tables


def _resolve_row(row: dict[str, Any], table: str, words: str, folder: Path) -> None:
    """`words` say which row it is; `folder` is where `file:` paths begin."""
    for key, value in row.items():
        where = f"{words} {key}"
        if isinstance(value, str) and value.startswith(("env:", "file:")):
            row[key] = _named(value, where, folder)
        elif value and ((table, key) in _SECRETS or _has_password(key, value)):
            raise ConfigError(
                f'{where}: write "env:NAME" or "file:PATH"; a secret does not belong in this file'
            )


def _has_password(key: str, value: Any) -> bool:
    return key == "dsn" and isinstance(value, str) and bool(_PASSWORD.search(value))


def _named(value: str, where: str, folder: Path) -> str:
    kind, _, name = value.partition(":")
    if kind == "env":
        if not os.environ.get(name):
            raise ConfigError(f"{where}: the environment has no {name}")
        return os.environ[name]
    try:
        return (folder / Path(name).expanduser()).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{where}: {name} cannot be read: {exc}") from exc


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(under)
    for key, value in over.items():
        if key in _LISTS:
            merged[key] = [*value, *merged.get(key, [])]
        elif isinstance(value, dict):
            merged[key] = {**merged.get(key, {}), **value}
        else:
            merged[key] = value
    return merged


def _check_names(config: Config, file: Path | None) -> None:
    """Backend names are unique, and what the file itself refers to exists."""
    names = [b.name for b in config.backends]
    if twice := next((n for n in names if names.count(n) > 1), None):
        raise ConfigError(f"{file}: [[backends]] name: {twice!r} is there twice")
    own = config.routing.default_backend
    if own and names and own not in names:
        raise ConfigError(
            f"{file}: [routing] default_backend: no [[backends]] table is named {own!r}"
        )


def _check_families(config: Config, path: Path) -> None:
    """Each row's family is one the parsers know; a word misspelt would read nothing, silently."""
    for row in config.models:
        if row.family not in FAMILIES:
            known = ", ".join(sorted(name for name in FAMILIES if name))
            raise ConfigError(
                f"{path}: [[models]] {row.match!r} family: {row.family!r} is not one of {known}"
            )
