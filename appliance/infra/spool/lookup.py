"""Finds exchanges in the spool from outside, without its lock.  For `appliance trace`; blocks on
the disk.

Memory holds as many exchanges as the caller asks for, whatever waits; of others only their ids.
"""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from appliance.domain.events.exchange import Exchange
from appliance.infra.spool.poison import NAME
from appliance.infra.spool.waiting import waiting_payloads

_exchange = msgspec.json.Decoder(Exchange)


@dataclass(slots=True)
class Waiting:
    """What the spool has under an id: `exchanges` that will be shipped, oldest first, those that
    were set aside with the reason, and trace ids of what was found beyond the limit."""

    exchanges: list[Exchange] = field(default_factory=list)
    poisoned: list[tuple[Exchange, str]] = field(default_factory=list)
    others: set[str] = field(default_factory=set)


class _Poisoned(msgspec.Struct):
    reason: str
    exchange: Exchange


_poisoned = msgspec.json.Decoder(_Poisoned)


def find_in_spool(directory: Path, identifier: str, limit: int) -> Waiting:
    """At most `limit` exchanges of each kind whose trace id or correlation id is `identifier`."""
    found, wanted = Waiting(), identifier.encode()
    for payload in waiting_payloads(directory):
        if wanted not in payload:
            continue
        with suppress(msgspec.DecodeError, UnicodeDecodeError):
            exchange = _exchange.decode(payload)
            if identifier not in (exchange.trace_id, exchange.correlation_id):
                continue
            if len(found.exchanges) < limit:
                found.exchanges.append(exchange)
            else:
                found.others.add(exchange.trace_id)
    for exchange, reason in _set_aside(directory, identifier):
        if len(found.poisoned) < limit:
            found.poisoned.append((exchange, reason))
        else:
            found.others.add(exchange.trace_id)
    return found


def _set_aside(directory: Path, identifier: str) -> Iterator[tuple[Exchange, str]]:
    with suppress(FileNotFoundError), (directory / NAME).open("rb") as lines:
        for line in lines:
            if identifier.encode() not in line:
                continue
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                poisoned = _poisoned.decode(line)
                exchange = poisoned.exchange
                if identifier in (exchange.trace_id, exchange.correlation_id):
                    yield exchange, poisoned.reason
