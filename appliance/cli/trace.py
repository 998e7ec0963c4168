"""`appliance trace ID`: exchanges by their trace id or correlation id, with every event of them.

PostgreSQL knows what the consumer or Dagster wrote, and which runs of Dagster took part; what is on
its way is in the stream, and before that in the spool.  Each event is where it is, not only the
exchange.
"""

import argparse
import asyncio
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from appliance.cli.common import add_target, target_config, trace_id_of
from appliance.cli.tracing.find import Found, find
from appliance.cli.tracing.page import page
from appliance.cli.tracing.timeline import timeline, whereabouts
from appliance.config.load import default_state
from appliance.config.parts import read_parts
from appliance.domain.errors import ConfigError, NotFound
from appliance.domain.events.trace import Traced
from appliance.infra.spool.folder import spool_directory

HELP = "show what happened in an exchange, by trace id or correlation id"
_LONGEST_ID = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """ID, --json, --html, --state, --config."""
    parser.add_argument("id", metavar="ID", help="x-request-id or X-Correlation-ID of the answer")
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument("--html", type=Path, metavar="FILE", help="draw it: one page, one file")
    add_target(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print every exchange of that id, oldest first; NotFound when there is none."""
    config = target_config(arguments)
    state: Path = arguments.state or default_state()
    spool = spool_directory(config.spool, state)
    identifier = trace_id_of(arguments.id)
    # A lone surrogate (a byte of the command line that is no UTF-8) is not printable either.
    if not 0 < len(identifier) <= _LONGEST_ID or not identifier.isprintable():
        raise NotFound("an id is 1 to 256 printable characters")
    if arguments.html is not None:
        _check(arguments.html)
    found = asyncio.run(find(config, spool, identifier, _dagster(arguments)))
    if not found.exchanges:
        raise NotFound(_nothing(identifier, spool, found.unseen))
    if arguments.html is not None:
        _replace(arguments.html, page(identifier, found.exchanges, _notes(found)))
    if arguments.json:
        print(_json(identifier, found))
    elif arguments.html is not None:
        print(arguments.html)
    else:
        print("\n\n".join("\n".join(timeline(t)) for t in found.exchanges))
        for sentence in _notes(found):
            print(f"\n{sentence}")
    return 0


def _dagster(arguments: argparse.Namespace) -> str:
    """The base of Dagster's web server under `up`; "" where nobody says."""
    try:
        return read_parts(arguments.state or default_state()).dagster or ""
    except ConfigError:
        return ""


def _nothing(identifier: str, spool: Path, unseen: Sequence[str]) -> str:
    """That nothing was found, and whether that says that nothing is there."""
    if unseen:
        return (
            f"nothing of {identifier} was found, but not all could be looked at: "
            f"{'; '.join(unseen)}"
        )
    return (
        f"no exchange has the id {identifier}: it is not in PostgreSQL, in the stream or in "
        f"the spool {spool}"
    )


def _notes(found: Found) -> Iterator[str]:
    if found.others:
        yield f"{len(found.others)} more exchanges have this id; the last is {found.others[-1]}"
    for sentence in found.unseen:
        yield f"not looked at: {sentence}"


def _json(identifier: str, found: Found) -> str:
    answer = {
        "id": identifier,
        "exchanges": [_told(traced) for traced in found.exchanges],
        "others": found.others,
        "unseen": found.unseen,
    }
    return msgspec.json.format(msgspec.json.encode(answer)).decode()


def _told(traced: Traced) -> dict[str, Any]:
    """All of it, and beside the events what they come to."""
    chat = traced.chat
    return {
        **asdict(traced),
        "place": whereabouts(traced),
        "places": traced.places,
        "rows": traced.rows,
        "status": chat.get("status", ""),
        "detail": chat,
        "nodes": [asdict(node) for node in traced.nodes],
    }


def _check(file: Path) -> None:
    """Raises ConfigError when `file` cannot be written."""
    if not file.parent.is_dir():
        raise ConfigError(f"--html: there is no folder {file.parent}")
    if file.exists() and not file.is_file():
        raise ConfigError(f"--html: {file} is not a file")


def _replace(file: Path, text: str) -> None:
    """The whole page or what was there before.  For the user alone: it says what people wrote."""
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:100]}.")
        try:
            with os.fdopen(handle, "wb") as out:
                out.write(text.encode())
                out.flush()
                os.fsync(out.fileno())
            os.replace(name, file)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise
    except OSError as exc:
        raise ConfigError(f"--html: {file} cannot be written: {exc.strerror}") from exc
