"""What a URL may lead to, and what becomes of it.  The server is on loopback: it is reached where
private addresses are allowed; what must be refused is refused before anything is sent."""

import base64
import encodings
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import pytest

from appliance.config.schema import MediaConfig
from appliance.domain.errors import InvalidRequest
from appliance.infra.http.client import HttpClient
from appliance.infra.media.fetch import UrlFetcher, system_addresses
from tests.fakes.actions import Behaviour, Cut, Head, Pause, Stall, after_chunks, alone
from tests.fakes.answers import reply
from tests.fakes.scripted_backend import ScriptedBackend, closed_port

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
METADATA = "169.254.169.254"


class Names:
    """A resolver: what each name leads to, the last answer repeated."""

    def __init__(self, **names: Sequence[Sequence[str]]) -> None:
        self.names = {name.replace("_", "."): list(answers) for name, answers in names.items()}
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host not in self.names:
            raise OSError("Name or service not known")
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]


MakeFetcher = Callable[..., UrlFetcher]


@pytest.fixture
def server() -> Iterator[ScriptedBackend]:
    with ScriptedBackend() as running:
        yield running


@pytest.fixture
async def make() -> AsyncIterator[MakeFetcher]:
    http = HttpClient()

    def fetcher(names: Any = system_addresses, **fields: Any) -> UrlFetcher:
        settings = {"allow_private": True, "timeout_s": 30.0} | fields
        return UrlFetcher(MediaConfig(**settings), http, names)

    yield fetcher
    await http.aclose()


def redirect(to: str, status: int = 302) -> Behaviour:
    return reply(status, b"moved", "text/html", location=to)


async def refusal(fetcher: UrlFetcher, url: str) -> str:
    with pytest.raises(InvalidRequest) as refused:
        await fetcher.fetch(url)
    assert refused.value.param == "messages"
    return str(refused.value)


# -- what arrives


async def test_an_image_comes_with_the_type_of_its_bytes(
    server: ScriptedBackend, make: MakeFetcher
) -> None:
    server.on_path("GET /a.jpg", reply(200, PNG, "image/jpeg"))
    media = await make().fetch(f"{server.url}/a.jpg?size=1")
    assert (media.media_type, base64.b64decode(media.data)) == ("image/png", PNG)
    asked = server.probes[0]
    assert asked.path == "/a.jpg?size=1"
    assert asked.headers["host"] == f"127.0.0.1:{server.port}"
    assert "user-agent" in asked.headers


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ("image/svg+xml", "image/svg+xml"),
        ("Text/Plain ; charset=utf-8", "text/plain"),
        ("", "application/octet-stream"),
        ("nonsense", "application/octet-stream"),
        ("text/<b>", "application/octet-stream"),
    ],
)
async def test_where_the_bytes_tell_nothing_the_server_does(
    told: str, kind: str, server: ScriptedBackend, make: MakeFetcher
) -> None:
    server.on_path("GET /a", reply(200, b"abc", told))
    assert (await make().fetch(f"{server.url}/a")).media_type == kind


@pytest.mark.parametrize(
    ("charset", "content", "text"),
    [
        ("utf-8", "naïve".encode(), "naïve".encode()),
        ("ISO-8859-1", b"na\xefve", "naïve".encode()),
        ('"windows-1252"', b"\x80", "€".encode()),
        ("punycode", b"abc-", b"abc-"),
        ("no-such", b"\xff", b"\xff"),
        ("", b"\xff", b"\xff"),
    ],
)
async def test_text_comes_as_utf8(
    charset: str, content: bytes, text: bytes, server: ScriptedBackend, make: MakeFetcher
) -> None:
    server.on_path("GET /a", reply(200, content, f"text/plain; charset={charset}"))
    assert base64.b64decode((await make().fetch(f"{server.url}/a")).data) == text


async def test_a_server_cannot_fill_the_memory_with_names_of_charsets(
    server: ScriptedBackend, make: MakeFetcher
) -> None:
    name = "no_such_charset_" * 4
    server.on_path("GET /a", reply(200, b"\xff", f"text/plain; charset={name}"))
    assert base64.b64decode((await make().fetch(f"{server.url}/a")).data) == b"\xff"
    assert name not in encodings._cache


async def test_characters_outside_ascii_are_quoted(
    server: ScriptedBackend, make: MakeFetcher
) -> None:
    server.on_path("GET /caf%C3%A9%20a.png", reply(200, PNG))
    await make().fetch(f"{server.url}/café a.png")
    assert server.probes[0].path == "/caf%C3%A9%20a.png"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(
    status: int, server: ScriptedBackend, make: MakeFetcher
) -> None:
    server.on_path("GET /a", redirect("/b/c?x=1", status))
    server.on_path("GET /b/c", redirect(f"{server.url}/d", status))
    server.on_path("GET /d", reply(200, PNG))
    assert (await make().fetch(f"{server.url}/a")).media_type == "image/png"
    assert [probe.path for probe in server.probes] == ["/a", "/b/c?x=1", "/d"]


# -- what is refused


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://127.0.0.1/a", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("//127.0.0.1/a", "only http and https"),
        ("javascript:1", "only http and https"),
        ("http://", "not http://"),
        ("http://user:pass@127.0.0.1/", "carries credentials"),
        ("http://127.0.0.1:99999/", "malformed"),
        ("http://[::1/", "malformed"),
    ],
)
async def test_only_plain_http_urls_are_fetched(url: str, why: str, make: MakeFetcher) -> None:
    told = await refusal(make(), url)
    assert why in told
    assert "pass@" not in told


@pytest.mark.parametrize(
    "addresses",
    [
        ["127.0.0.1"], ["10.0.0.8"], ["::1"], ["::ffff:192.168.0.1"], [METADATA], ["0.0.0.0"], [],
        ["1.1.1.1", "10.0.0.8"], ["10.0.0.8", "1.1.1.1"],
    ],
)  # fmt: skip
async def test_a_name_that_leads_inside_is_refused_in_the_words_of_one_that_does_not_exist(
    addresses: list[str], make: MakeFetcher
) -> None:
    fetcher = make(Names(inside_example=[addresses]), allow_private=False)
    told = await refusal(fetcher, "http://inside.example/a.png?k=1")
    expected = "http://inside.example/a.png cannot be fetched: its host has no public address."
    assert told == expected
    assert await refusal(fetcher, "http://gone.example/") == (
        "http://gone.example/ cannot be fetched: its host has no public address."
    )


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "127.1", "2130706433", "0x7f000001", "0.0.0.0", "[::ffff:7f00:1]"],
)
async def test_numbers_for_this_machine_are_refused_however_written(
    host: str, server: ScriptedBackend, make: MakeFetcher
) -> None:
    told = await refusal(make(allow_private=False), f"http://{host}:{server.port}/")
    assert "no public address" in told
    assert server.connections == 0


@pytest.mark.parametrize(
    "to",
    [f"http://{METADATA}/latest", "http://inside.example/", "http://0.0.0.0/", "file:///etc/passwd",
     "gopher://x/", "http://[", "//inside.example/x"],
)  # fmt: skip
async def test_a_redirect_is_checked_like_the_url_itself(
    to: str, server: ScriptedBackend, make: MakeFetcher
) -> None:
    names = Names(ours_example=[["127.0.0.1"]], inside_example=[[METADATA]])
    names.names |= {METADATA: [[METADATA]], "0.0.0.0": [["0.0.0.0"]]}
    server.on_path("GET /a", redirect(to))
    told = await refusal(make(names), f"http://ours.example:{server.port}/a")
    assert told.startswith("http://ours.example/a cannot be fetched: ")
    assert "inside" not in told
    assert METADATA not in told
    assert server.connections == 1


async def test_a_name_that_leads_elsewhere_the_second_time_is_refused_there(
    server: ScriptedBackend, make: MakeFetcher
) -> None:
    names = Names(rebinding_example=[["127.0.0.1"], [METADATA]])
    server.on_path("GET /a", redirect("/b"))
    told = await refusal(make(names), f"http://rebinding.example:{server.port}/a")
    assert "cannot be found" in told
    assert [probe.path for probe in server.probes] == ["/a"]


async def test_a_name_is_looked_up_once_and_connected_to_as_looked_up(
    server: ScriptedBackend, make: MakeFetcher
) -> None:
    names = Names(rebinding_example=[["127.0.0.1"], [METADATA]])
    server.on_path("GET /a", reply(200, PNG))
    await make(names).fetch(f"http://rebinding.example:{server.port}/a")
    assert names.asked == ["rebinding.example"]
    assert server.probes[0].headers["host"] == f"rebinding.example:{server.port}"


async def test_the_next_address_is_tried_when_one_is_dead(
    server: ScriptedBackend, make: MakeFetcher
) -> None:
    server.on_path("GET /a", reply(200, PNG))
    names = Names(two_example=[["::1", "127.0.0.1"]])
    await make(names).fetch(f"http://two.example:{server.port}/a")
    with closed_port() as port:
        told = await refusal(make(names), f"http://two.example:{port}/a")
    assert told == "http://two.example/a cannot be fetched: its server cannot be reached."


async def test_redirects_without_end_are_refused(
    server: ScriptedBackend, make: MakeFetcher
) -> None:
    server.on_path("GET /a", redirect("/a"))
    assert "redirected more than 2 times" in await refusal(make(max_redirects=2), f"{server.url}/a")
    assert len(server.probes) == 3


@pytest.mark.parametrize(
    ("behaviour", "why"),
    [
        (reply(404, b"no"), "answered 404"),
        (reply(500, b"no"), "answered 500"),
        (reply(204), "answered 204"),
        (reply(200, bytes(1001)), "larger than 1000 bytes"),
        (reply(200, b"abc", content_encoding="gzip"), "compressed"),
        (alone(Cut()), "cannot be reached"),
        (after_chunks(0, Cut(), reply(200, PNG)), "cannot be reached"),
        (alone(Head(200, (("content-length", "5"),)), Stall()), "within 0.3 s"),
        (alone(Stall()), "within 0.3 s"),
        (alone(Pause(5)), "within 0.3 s"),
    ],
)
async def test_what_does_not_arrive_whole_is_refused_in_words(
    behaviour: Behaviour, why: str, server: ScriptedBackend, make: MakeFetcher
) -> None:
    server.on_path("GET /a", behaviour)
    told = await refusal(make(max_bytes=1000, timeout_s=0.3), f"{server.url}/a?secret=1")
    assert why in told
    assert "secret" not in told


async def test_the_systems_addresses_are_numeric_and_each_told_once() -> None:
    assert await system_addresses("127.0.0.1", 80) == ["127.0.0.1"]
    assert set(await system_addresses("localhost", 80)) <= {"127.0.0.1", "::1"}
