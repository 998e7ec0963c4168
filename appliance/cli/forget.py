"""`appliance forget ID`: everything of an exchange, a thread or a conversation, taken out for good.

First out of PostgreSQL, where from then on nothing of it is ever written again; then out of what
Dagster remembers of its runs; then out of the streams, and what the spool set aside.  Whatever
could not be reached is named, and so is a dataset that may hold it.
"""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path

from appliance.cli.common import add_target, counted, database, kept_config, trace_id_of
from appliance.cli.progress import Progress, table_lines
from appliance.config.dagster_home import postgres_dsn
from appliance.config.load import default_state
from appliance.config.schema import Config
from appliance.domain.errors import InvalidRequest, PartUnavailable
from appliance.infra.datasets.folder import MANIFEST, dataset_folder
from appliance.infra.mentions import Mentions
from appliance.infra.nats.reader.erase import Erased, Eraser
from appliance.infra.nats.reader.range import visit
from appliance.infra.postgres.dagster_forget import forget_in_dagster
from appliance.infra.postgres.forget import Forgotten, forget, look
from appliance.infra.spool.folder import spool_directory
from appliance.infra.spool.poison import PoisonFile
from appliance.infra.spool.waiting import count_waiting

HELP = "delete everything kept under a trace, correlation, conversation or response id"
_LONGEST_ID = 256
_TIMEOUT_S = 900.0  # tables without an index over the id are read
_LOOKS, _LOOK_EVERY_S = 20, 0.1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """ID, --yes, --state, --config."""
    parser.add_argument(
        "id", metavar="ID", help="a trace id, correlation id, conversation id or response id"
    )
    parser.add_argument("--yes", action="store_true", help="do not ask")
    add_target(parser)


def run(arguments: argparse.Namespace) -> int:
    """1 when something of it could not be reached, or the answer to the question was no."""
    identifier = trace_id_of(arguments.id)
    if not 0 < len(identifier) <= _LONGEST_ID or not identifier.isprintable():
        raise InvalidRequest(f"an id is at most {_LONGEST_ID} printable characters")
    config = kept_config(arguments)
    state: Path = arguments.state or default_state()
    spool = spool_directory(config.spool, state)
    if not arguments.yes and not _agreed(config, identifier):
        return 1
    status = asyncio.run(_forget(config, spool, identifier))
    _say_dataset(dataset_folder(config.dataset, state))
    return status


def _agreed(config: Config, identifier: str) -> bool:
    """Say what goes, and ask."""
    if not sys.stdin.isatty():
        raise InvalidRequest("nobody is there to be asked: say --yes to delete without a question")
    found = asyncio.run(_look(config, identifier))
    print(f"Of {identifier}, {counted(len(found.traces), 'exchange')} in PostgreSQL:")
    for line in _rows(found.rows):
        print(f"  {line}")
    print(
        "with their contents that nobody else refers to; every message of it in the streams "
        "PIPELINE, TELEMETRY and EVT, with its payload; what Dagster shows of it; and what the "
        "spool has set aside of it."
    )
    print(
        "What was asked under it until now and still arrives is not kept either; what is asked "
        "from now on is.  This cannot be undone.\n"
        "Backups and copies of the database are not touched."
    )
    try:
        return input("Forget it? Type yes: ").strip().lower() == "yes"
    except EOFError:
        return False


async def _look(config: Config, identifier: str) -> Forgotten:
    async with database(config, timeout_s=_TIMEOUT_S) as pool:
        return await look(pool, identifier)


async def _forget(config: Config, spool: Path, identifier: str) -> int:
    async with database(config, timeout_s=_TIMEOUT_S) as pool:
        try:
            forgotten = await forget(pool, identifier)
        except PartUnavailable as exc:
            raise PartUnavailable(f"{exc}: nothing was deleted", part=exc.part) from exc
    print(f"PostgreSQL, {counted(len(forgotten.traces), 'exchange')}:")
    for line in _rows(forgotten.rows):
        print(f"  {line}")
    left = await _out_of_dagster(config, {identifier, *forgotten.traces})
    left += await _erase(config, spool, identifier, forgotten)
    concerns = Mentions(identifier, forgotten.at)
    left += await asyncio.to_thread(_take_out_of_spool, spool, concerns)
    for sentence in left:
        print(sentence, file=sys.stderr)
    return 1 if left else 0


async def _out_of_dagster(config: Config, ids: set[str]) -> list[str]:
    """What remains in Dagster's database, as sentences."""
    try:
        changed = await forget_in_dagster(postgres_dsn(config), ids, timeout_s=_TIMEOUT_S)
    except PartUnavailable as exc:
        days = config.dagster.keep_runs_days
        return [
            f"{exc}: ids on its runs, and beginnings of its texts in their previews, remain there "
            f"until these runs are {counted(days, 'day')} old"
        ]
    if changed is not None:
        print(f"Dagster: {counted(changed, 'record')}")
    return []


async def _erase(config: Config, spool: Path, identifier: str, forgotten: Forgotten) -> list[str]:
    """What remains in NATS, as sentences."""
    try:
        async with visit(config.nats) as client:
            await _shipped(spool, Mentions(identifier, forgotten.at))
            with Progress() as progress:
                eraser = Eraser(
                    client,
                    identifier,
                    forgotten.traces,
                    until=forgotten.at,
                    progress=progress.show,
                )
                erased = await eraser.erase(forgotten.sequences)
    except PartUnavailable as exc:
        return [
            f"{exc}: its messages in PIPELINE, TELEMETRY and EVT and their payloads remain; they "
            f"become no row any more, and age out within 72 hours.  Forget it again to delete them "
            f"now"
        ]
    for line in _messages(erased):
        print(line)
    return []


async def _shipped(spool: Path, concerns: Mentions) -> None:
    """Wait a moment for a living gateway: what is in the stream can be deleted, what is in its
    spool cannot."""
    for _ in range(_LOOKS):
        if not await asyncio.to_thread(count_waiting, spool, concerns):
            return
        await asyncio.sleep(_LOOK_EVERY_S)


def _take_out_of_spool(spool: Path, concerns: Mentions) -> list[str]:
    """What remains in the spool of this host, as sentences."""
    try:
        removed = PoisonFile(spool, 0).forget(concerns)
        waiting = count_waiting(spool, concerns)
    except OSError as exc:
        return [f"the spool {spool} cannot be read ({exc.strerror}): what it has of it remains"]
    print(f"set aside in the spool: {counted(removed, 'record')}")
    if not waiting:
        return []
    return [
        f"{counted(waiting, 'record')} of it in the spool {spool}: dropped when they arrive, they "
        f"become no row.  Forget it again once they are shipped, to delete their messages too"
    ]


def _say_dataset(folder: Path) -> None:
    """Only a new export leaves it out; files cannot be edited: their hashes are in the manifest."""
    if (folder / MANIFEST).exists():
        print(
            f"The dataset {folder} was written before and may hold it: "
            "`appliance dataset export` writes it anew.  Copies of it are not touched."
        )


def _rows(rows: Mapping[str, int]) -> list[str]:
    """Of the tables that have any."""
    some = [(name, str(count)) for name, count in rows.items() if count]
    return table_lines(("table", "rows"), some) if some else ["no rows"]


def _messages(erased: Erased) -> list[str]:
    lines = [f"{stream}: {counted(n, 'message')}" for stream, n in erased.messages.items()]
    return [*lines, f"payloads in the object store: {counted(erased.payloads, 'object')}"]
