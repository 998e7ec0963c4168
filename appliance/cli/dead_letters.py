"""`appliance dead-letters list|show|replay`: messages that could not be written, and why."""

import argparse
import asyncio
import json
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import msgspec

from appliance.cli.common import add_target, counted, database, kept_config
from appliance.cli.progress import written_lines
from appliance.cli.terminal import plain
from appliance.config.schema import Config
from appliance.domain.errors import InvalidRequest, NotFound
from appliance.domain.events.delivery import BatchWriter, Written
from appliance.domain.events.durables import DURABLES
from appliance.domain.instants import told
from appliance.infra.nats.objects import PayloadGone, Payloads, is_reference
from appliance.infra.nats.reader.range import visit
from appliance.infra.postgres.dead_letters import DeadLetter, DeadLetters, LetterUnreadable
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import WRITERS, writer_for

HELP = "list, show and replay messages that could not be written"
MOST_TEXT = 400  # characters of a text in a payload that is shown
_TIMEOUT_S = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`list [--subject S] [--json]`, `show ID [--raw]`, `replay ID…|--all [--subject S]`."""
    add_target(parser)
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="one line a letter, oldest first")
    names = ", ".join(durable.name for durable in DURABLES.values())
    listing.add_argument(
        "--subject", metavar="S", help=f"a subject, or one of {names}; default: all"
    )
    listing.add_argument("--json", action="store_true", help="one JSON array")
    showing = actions.add_parser("show", help="one letter with its payload")
    showing.add_argument("id", type=int, metavar="ID", help="as `list` tells it")
    showing.add_argument("--raw", action="store_true", help="the payload alone, byte by byte")
    replaying = actions.add_parser("replay", help="try to write letters again")
    replaying.add_argument("ids", type=int, nargs="*", metavar="ID", help="as `list` tells them")
    replaying.add_argument("--all", action="store_true", help="every letter")
    replaying.add_argument("--subject", metavar="S", help="with --all: of this alone")
    for action in (listing, showing, replaying):
        add_target(action, below=True)


def run(arguments: argparse.Namespace) -> int:
    """1 when a letter that was replayed stays."""
    if arguments.action == "replay" and bool(arguments.ids) == arguments.all:
        raise InvalidRequest("name the letters to replay, or say --all")
    if arguments.action == "replay" and arguments.ids and arguments.subject:
        raise InvalidRequest("--subject goes with --all, not with letters by their ids")
    config = kept_config(arguments)
    if arguments.action == "list":
        return asyncio.run(_list(config, _subject(arguments), as_json=arguments.json))
    if arguments.action == "show":
        return asyncio.run(_show(config, arguments.id, raw=arguments.raw))
    return asyncio.run(_replay(config, arguments.ids, _subject(arguments)))


def _subject(arguments: argparse.Namespace) -> str | None:
    """A durable's name stands for its subject; any other is taken as it is: a letter may be of a
    subject that nobody writes."""
    named = {durable.name: durable.subject for durable in DURABLES.values()}
    subject: str | None = arguments.subject
    return named.get(subject, subject) if subject else None


async def _list(config: Config, subject: str | None, *, as_json: bool) -> int:
    separator = "["
    count = 0
    async with database(config, timeout_s=_TIMEOUT_S) as pool:
        async for page in DeadLetters(pool).pages(subject):
            count += len(page)
            for letter in page:
                if as_json:
                    print(f"{separator}{json.dumps(_as_json(letter), ensure_ascii=False)}")
                    separator = ","
                else:
                    print(line(letter))
    if as_json:
        print("[]" if separator == "[" else "]")
    elif not count:
        print(_none(subject), file=sys.stderr)
    return 0


def _none(subject: str | None) -> str:
    return f"no dead letters{f' of {subject}' if subject else ''}"


def line(letter: DeadLetter) -> str:
    """Id, when, subject, trace id, deliveries, reason."""
    return "  ".join(
        (
            str(letter.id),
            told(letter.created_at.timestamp()),
            plain(letter.subject),
            plain(letter.trace_id) or "(no trace id)",
            f"tried {counted(letter.deliveries, 'time')}",
            plain(letter.reason),
        )
    )


async def _show(config: Config, letter_id: int, *, raw: bool) -> int:
    async with database(config, timeout_s=_TIMEOUT_S) as pool:
        found = await DeadLetters(pool).get(letter_id)
    if found is None:
        raise NotFound(f"there is no dead letter {letter_id}: see `appliance dead-letters list`")
    letter, payload = found
    if raw:
        sys.stdout.buffer.write(payload)
        sys.stdout.buffer.flush()
        return 0
    for name, value in _as_json(letter).items():
        print(f"{name:<16}{plain(str(value))}")
    print()
    for each in shown(payload):
        print(each)
    return 0


def shown(payload: bytes) -> list[str]:
    """A payload for people: long texts are cut, and what a terminal could obey is taken out."""
    try:
        value = _cut(msgspec.json.decode(payload))
        text = json.dumps(value, ensure_ascii=False, indent=2)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        text = str(_cut(payload.decode("utf-8", "replace")))
    return [plain(each) for each in text.splitlines()]


def _cut(value: Any) -> Any:
    if isinstance(value, str) and len(value) > MOST_TEXT:
        return f"{value[:MOST_TEXT]}… ({len(value)} characters)"
    if isinstance(value, list):
        return [_cut(item) for item in value]
    if isinstance(value, dict):
        return {_cut(key): _cut(item) for key, item in value.items()}
    return value


async def _replay(config: Config, ids: list[int], subject: str | None) -> int:
    written, removed, stayed = Written(), 0, 0
    async with database(config, timeout_s=_TIMEOUT_S) as pool:
        letters = DeadLetters(pool)
        async for page in _chosen(letters, ids, subject):
            replayed = await letters.replay(page, partial(_writer, pool), partial(_whole, config))
            written.add(replayed.written)
            removed += replayed.removed
            stayed += len(replayed.failed)
            for letter, reason in replayed.failed:
                print(f"{letter.id} stays: {plain(reason)}", file=sys.stderr)
    if not removed and not stayed:
        print(_none(subject), file=sys.stderr)
        return 0
    for each in written_lines(written):
        print(each)
    print(f"{counted(removed, 'letter')} removed{f', {stayed} stay' if stayed else ''}")
    return 1 if stayed else 0


async def _chosen(
    letters: DeadLetters, ids: list[int], subject: str | None
) -> AsyncIterator[list[DeadLetter]]:
    """Pages of those named, else of all."""
    if not ids:
        async for page in letters.pages(subject):
            yield page
    for letter_id in dict.fromkeys(ids):
        found = await letters.get(letter_id)
        if found is None:
            raise NotFound(f"there is no dead letter {letter_id}: it may have been replayed")
        yield [found[0]]


def _writer(pool: PostgresPool, subject: str) -> BatchWriter | None:
    return writer_for(subject, pool) if subject in WRITERS else None


async def _whole(config: Config, data: bytes) -> bytes:
    """The body of a payload, fetched where it is one by reference."""
    if not is_reference(data):
        return data
    async with visit(config.nats) as client:
        try:
            return await Payloads(client.jetstream(timeout=_TIMEOUT_S)).resolve(data)
        except PayloadGone as exc:
            raise LetterUnreadable(str(exc)) from exc


def _as_json(letter: DeadLetter) -> dict[str, str | int]:
    return {
        "id": letter.id,
        "created_at": letter.created_at.isoformat(),
        "subject": letter.subject,
        "trace_id": letter.trace_id,
        "event_id": letter.event_id,
        "reason": letter.reason,
        "deliveries": letter.deliveries,
        "stream": letter.stream,
        "stream_sequence": letter.stream_sequence,
        "size_bytes": letter.size_bytes,
    }
