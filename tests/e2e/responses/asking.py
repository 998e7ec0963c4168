"""Small words of the tests of responses."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from tests.fakes.gateway import GatewayProcess

ROUTE = "/v1/responses"
Event = dict[str, Any]


def question(text: str = "Hello?", **fields: Any) -> dict[str, Any]:
    """A request."""
    return {"model": "scripted", "input": text, **fields}


def ask(gateway: GatewayProcess, **fields: Any) -> dict[str, Any]:
    """The resource of a new response."""
    answer = httpx.post(gateway.url + ROUTE, json=question(**fields), timeout=60)
    assert answer.status_code == 200, answer.text
    resource: dict[str, Any] = answer.json()
    return resource


def get(gateway: GatewayProcess, response_id: str) -> dict[str, Any]:
    """The resource as it is now."""
    resource: dict[str, Any] = httpx.get(f"{gateway.url}{ROUTE}/{response_id}", timeout=60).json()
    return resource


@contextmanager
def streamed(gateway: GatewayProcess, **fields: Any) -> Iterator[Iterator[Event]]:
    """The events of a new response, as they come."""
    body = question(stream=True, **fields)
    with httpx.stream("POST", gateway.url + ROUTE, json=body, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        yield _events(answer)


@contextmanager
def replayed(
    gateway: GatewayProcess, response_id: str, after: int = -1
) -> Iterator[Iterator[Event]]:
    """The events of a stored one, as they come."""
    query: dict[str, str | int] = {"stream": "true"}
    if after >= 0:
        query["starting_after"] = after
    url = f"{gateway.url}{ROUTE}/{response_id}"
    with httpx.stream("GET", url, params=query, timeout=60) as answer:
        assert answer.status_code == 200, answer.read()
        yield _events(answer)


def replay(gateway: GatewayProcess, response_id: str, after: int = -1) -> list[Event]:
    """All of them; every number follows the one before."""
    with replayed(gateway, response_id, after) as events:
        found = list(events)
    numbers = [event["sequence_number"] for event in found]
    assert numbers == list(range(after + 1, after + 1 + len(numbers)))
    return found


def text_of(resource: dict[str, Any]) -> str:
    """What it says."""
    parts = [part for item in resource["output"] for part in item.get("content", ())]
    return "".join(part.get("text", "") for part in parts)


def _events(answer: httpx.Response) -> Iterator[Event]:
    return (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))
