from typing import Any

import msgspec
import pytest

from appliance.config.schema import DagsterConfig
from appliance.domain.errors import ConfigError
from appliance.pipelines.web import guarded, listen_address, stands_by

LISTEN = "127.0.0.1:3000"


async def _answers(scope: Any, _receive: Any, send: Any) -> None:
    kind = "websocket.accept" if scope["type"] == "websocket" else "http.response.start"
    await send({"type": kind, "status": 200, "headers": []})


async def _ask(
    headers: dict[str, str], /, app: Any = _answers, **scope: Any
) -> list[dict[str, Any]]:
    """What `app` behind the guard sends for a request; by itself it would always answer 200."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(dict(message))

    async def receive() -> dict[str, Any]:
        return {"type": "http.request"}

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    full = {"type": "http", "method": "POST", "path": "/graphql", "headers": raw, **scope}
    await guarded(app, ["dagster.lan"], LISTEN)(full, receive, send)
    return sent


def _status(sent: list[dict[str, Any]]) -> int:
    return int(sent[0]["status"])


@pytest.mark.parametrize(
    "host", ["127.0.0.1:3000", "localhost:3000", "[::1]:3000", "dagster.lan", "10.1.2.3:3000"]
)
async def test_addresses_loopback_names_and_listed_names_are_served(host: str) -> None:
    assert _status(await _ask({"host": host})) == 200


@pytest.mark.parametrize("headers", [{"host": "evil.example"}, {"host": ""}, {}])
async def test_another_host_is_refused(headers: dict[str, str]) -> None:
    sent = await _ask(headers)
    assert _status(sent) == 403
    assert (b"content-type", b"text/plain; charset=utf-8") in sent[0]["headers"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://127.0.0.1:3000", 200),
        ("http://127.0.0.1:8080", 403),
        ("https://evil.example", 403),
        ("null", 403),
    ],
)
async def test_only_its_own_pages_may_ask(origin: str, status: int) -> None:
    assert _status(await _ask({"host": LISTEN, "origin": origin})) == status


async def test_no_page_of_another_origin_can_frame_it() -> None:
    sent = await _ask({"host": LISTEN})
    assert (b"x-frame-options", b"SAMEORIGIN") in sent[0]["headers"]


@pytest.mark.parametrize("path", ["/graphql", "/graphql/"])
async def test_graphql_does_not_execute_what_an_image_asks_for(path: str) -> None:
    sent = await _ask({"host": LISTEN, "accept": "image/*,*/*"}, method="GET", path=path)
    assert _status(sent) == 403


async def test_of_several_accepts_the_first_counts_as_it_does_to_dagster() -> None:
    raw = [(b"host", LISTEN.encode()), (b"accept", b"*/*"), (b"accept", b"text/html")]
    assert _status(await _ask({}, method="GET", headers=raw)) == 403


async def test_the_page_of_graphql_itself_is_served() -> None:
    assert _status(await _ask({"host": LISTEN, "accept": "text/html"}, method="GET")) == 200


async def test_a_websocket_of_another_page_is_closed_before_it_opens() -> None:
    sent = await _ask({"host": LISTEN, "origin": "https://evil.example"}, type="websocket")
    assert [message["type"] for message in sent] == ["websocket.close"]


async def test_a_websocket_of_its_own_page_opens() -> None:
    sent = await _ask({"host": LISTEN, "origin": f"http://{LISTEN}"}, type="websocket")
    assert [message["type"] for message in sent] == ["websocket.accept"]


@pytest.mark.parametrize("listen", ["0.0.0.0:3000", "[::]:3000", "10.1.2.3:3000"])
def test_beyond_loopback_it_needs_to_be_told_so(listen: str) -> None:
    with pytest.raises(ConfigError, match="--insecure"):
        listen_address(DagsterConfig(), listen, insecure=False)
    assert listen_address(DagsterConfig(), listen, insecure=True) == listen


def test_the_command_line_goes_before_the_configuration_and_that_before_the_default() -> None:
    configured = msgspec.convert({"listen": "127.0.0.1:1"}, DagsterConfig)
    assert listen_address(configured, "127.0.0.1:2", insecure=False) == "127.0.0.1:2"
    assert listen_address(configured, "", insecure=False) == "127.0.0.1:1"
    assert listen_address(DagsterConfig(), "", insecure=False) == "127.0.0.1:3000"


async def test_a_role_that_stands_by_says_so_wherever_one_looks() -> None:
    sent = await _ask({"host": LISTEN}, stands_by, method="GET", path="/server_info")
    assert _status(sent) == 503
    assert b"another one, here or on another host, has the database" in sent[1]["body"]
    refused = await _ask({"host": LISTEN}, stands_by, type="websocket")
    assert [message["type"] for message in refused] == ["websocket.close"]
    assert _status(await _ask({"host": "evil.example"}, stands_by)) == 403
