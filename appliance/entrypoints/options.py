"""What `appliance run` hands to a role."""

from dataclasses import dataclass
from pathlib import Path

from appliance.config.schema import Config


@dataclass(frozen=True, slots=True)
class RunOptions:
    """`listen` is HOST:PORT or empty for the configured one; `state` is None when no state folder
    is known; `insecure` lets the gateway serve without keys on an address that is not loopback;
    `config_file` is what `config` was read from, None for the user's lasting file."""

    config: Config
    state: Path | None = None
    listen: str = ""
    insecure: bool = False
    config_file: Path | None = None
