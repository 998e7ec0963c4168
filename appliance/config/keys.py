"""The file of callers' keys: TOML, `[[keys]]` with name, sha256 and workspaces.  Hashes only."""

import os
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from appliance.config.schema import Config, Name, Table
from appliance.domain.access.keys import Key, KeyRing
from appliance.domain.errors import ConfigError


class KeyRow(Table, frozen=True, kw_only=True):
    """One `[[keys]]` table."""

    name: Name
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    workspaces: tuple[Name, ...] = ()


class KeyFile(Table, frozen=True, kw_only=True):
    """The whole file."""

    keys: tuple[KeyRow, ...] = ()


def keys_file(config: Config, state: Path | None) -> Path | None:
    """Where this gateway's keys are: `[gateway] keys_file`, else STATE/keys.toml, else nowhere."""
    if config.gateway.keys_file:
        return Path(config.gateway.keys_file).expanduser()
    return state / "keys.toml" if state is not None else None


def read_keys(path: Path | None) -> KeyFile:
    """The keys of the file; none where there is no file.  Raises ConfigError."""
    if path is None:
        return KeyFile()
    try:
        return msgspec.toml.decode(path.read_bytes(), type=KeyFile)
    except FileNotFoundError:
        return KeyFile()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: cannot be read as a key file: {exc}") from exc


def key_ring(file: KeyFile) -> KeyRing:
    """The keys as the gateway checks them."""
    return KeyRing(Key(row.name, row.sha256, row.workspaces) for row in file.keys)


def write_keys(path: Path, file: KeyFile) -> None:
    """Replace the file, mode 0600, in one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# Hashes of callers' keys; made by `appliance keys new`.\n"]
    for row in file.keys:
        workspaces = ", ".join(f'"{w}"' for w in row.workspaces)
        lines.append(
            f'\n[[keys]]\nname = "{row.name}"\nsha256 = "{row.sha256}"\n'
            f"workspaces = [{workspaces}]\n"
        )
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.writelines(lines)
    fresh.replace(path)
