"""STATE/parts.json and the ready file: where everything is, with the pids of the moment."""

from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec

from appliance.config.parts import Parts, parts_file, write_parts
from appliance.infra.supervise.files import write_private

_READY_KEYS = ("gateway", "inference", "nats", "postgres", "metrics", "dagster", "pids")


class Places:
    """The two files of one `up`; `nats` is the address with its token, for the ready file.

    `parts` has every address there will be; Dagster's is written once it has answered.
    """

    def __init__(self, state: Path, ready_file: Path | None, parts: Parts, nats: str) -> None:
        self._parts_file = parts_file(state)
        self._ready_file = ready_file
        self._parts = parts
        self._nats = nats
        self._announced = False

    def publish(
        self, pids: Mapping[str, int], answered: Collection[str], awaited: Collection[str]
    ) -> None:
        """Called after every start of a part and when one has first `answered` or is no longer
        `awaited`; the ready file follows once it has been announced."""
        dagster = self._parts.dagster if "dagster" in answered else None
        parts = msgspec.structs.replace(
            self._parts, pids=dict(pids), dagster=dagster, awaited=list(awaited)
        )
        write_parts(self._parts_file, parts)
        if self._announced and self._ready_file:
            ready = {key: getattr(parts, key) for key in _READY_KEYS} | {"nats": self._nats}
            write_private(self._ready_file, msgspec.json.format(msgspec.json.encode(ready)) + b"\n")

    def announce(
        self, pids: Mapping[str, int], answered: Collection[str], awaited: Collection[str]
    ) -> None:
        """All is healthy, or was given its time: from now on the ready file is there."""
        self._announced = True
        self.publish(pids, answered, awaited)

    def withdraw_ready_file(self) -> None:
        """Stopping: nobody shall start to rely on it."""
        self._announced = False
        if self._ready_file:
            self._ready_file.unlink(missing_ok=True)

    def withdraw(self) -> None:
        """Nothing runs: neither file is there."""
        self.withdraw_ready_file()
        self._parts_file.unlink(missing_ok=True)
