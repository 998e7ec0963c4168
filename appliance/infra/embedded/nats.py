"""The embedded NATS server: its configuration file in STATE/nats and its command line.

Loopback only, token required, JetStream on disk, no monitoring port.
"""

import asyncio
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from appliance.infra.supervise.files import write_private

# Agent turns with images exceed the default of 1 MiB.  NATS advises no more than this, and
# JetStream refuses messages from 32 MiB on whatever the limit says; larger events go by reference.
MAX_PAYLOAD_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Nats:
    """One server: `folder` holds its configuration and its JetStream store."""

    program: Path
    folder: Path
    port: int
    token: str

    @property
    def url(self) -> str:
        """The address, without credentials."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def url_with_token(self) -> str:
        """The address a client can use as it is."""
        return f"nats://{self.token}@127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """The server in the foreground."""
        return [str(self.program), "-c", str(self._file)]

    async def configure(self) -> None:
        """Write the configuration file, mode 0600, whole or not at all."""
        self.folder.mkdir(mode=0o700, exist_ok=True)
        write_private(self._file, self._text().encode())

    def _text(self) -> str:
        return (
            f"listen: 127.0.0.1:{self.port}\n"
            f"authorization {{ token: {json.dumps(self.token)} }}\n"
            f"max_payload: {MAX_PAYLOAD_BYTES}\n"
            # The default is two minutes: this bounds what a power cut can take from a stream.
            f"jetstream {{ store_dir: {json.dumps(str(self.folder))}, sync_interval: 1s }}\n"
        )

    @property
    def _file(self) -> Path:
        return self.folder / "nats.conf"

    async def healthy(self) -> bool:
        """Does it greet a new connection?"""
        return await nats_greets(self.url)


async def nats_greets(url: str, *, timeout_s: float = 5.0) -> bool:
    """True when the server at `url` sends its INFO line within `timeout_s`."""
    host, _, port = url.rpartition("://")[2].rpartition("@")[2].rpartition(":")
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, int(port))
            try:
                return (await reader.readline()).startswith(b"INFO ")
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except (OSError, ValueError):  # TimeoutError included
        return False
