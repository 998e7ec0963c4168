import pytest

from appliance.domain.access.origin import OriginGuard, host_name, is_loopback


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("localhost", "localhost"),
        ("LocalHost:8080", "localhost"),
        (" localhost:8080 ", "localhost"),
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:8080", "::1"),
        ("[FE80::1]:8080", "fe80::1"),
        ("::1", "::1"),
        ("gateway.lan:8080", "gateway.lan"),
        ("", ""),
        (":8080", ""),
        ("[::1", "::1"),
    ],
)
def test_the_name_of_a_host_header(header: str, name: str) -> None:
    assert host_name(header) == name


@pytest.mark.parametrize("name", ["localhost", "app.localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(name: str) -> None:
    assert is_loopback(name)


@pytest.mark.parametrize(
    "name",
    ["", "localhost.evil.example", "notlocalhost", "0.0.0.0", "::", "10.0.0.1", "127.1.evil"],
)
def test_not_loopback(name: str) -> None:
    assert not is_loopback(name)


GUARD = OriginGuard(["Gateway.LAN"], ["https://Chat.example/", "http://desk.lan:3000"])


@pytest.mark.parametrize(
    "host",
    [
        "localhost:8080",
        "LOCALHOST",
        "127.0.0.1:8080",
        "[::1]:8080",
        "[::ffff:127.0.0.1]:8080",
        "192.168.1.7:8080",
        "[2001:db8::7]",
        "gateway.lan",
        "GATEWAY.lan:8080",
    ],
)
def test_loopback_names_addresses_and_listed_names_are_served(host: str) -> None:
    assert GUARD.host_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "127.0.0.1.nip.io:8080",
        "localhost.evil.example",
        "evil-gateway.lan",
        "gateway.lan.evil.example",
        "xlocalhost",
        "[evil.example]:80",
        "0x7f000001",
        "localhost.",
    ],
)
def test_a_name_that_may_be_rebound_is_refused(host: str) -> None:
    assert not GUARD.host_allowed(host)


@pytest.mark.parametrize(
    "origin", ["https://chat.example", "HTTPS://CHAT.example", "http://desk.lan:3000"]
)
def test_a_listed_origin_may_read_answers(origin: str) -> None:
    assert GUARD.origin_listed(origin)
    assert GUARD.origin_allowed(origin, "localhost:8080")


@pytest.mark.parametrize(
    "origin",
    [
        "http://chat.example",
        "https://chat.example.evil",
        "https://chat.example:444",
        "http://desk.lan",
        "null",
        "",
        "http://",
        "http://[",
        "https://[::1",
        "\x00",
    ],
)
def test_any_other_origin_is_refused_and_never_an_error(origin: str) -> None:
    assert not GUARD.origin_listed(origin)
    assert not GUARD.origin_allowed(origin, "localhost:8080")


def test_the_gateways_own_pages_are_served_but_get_no_cors() -> None:
    assert GUARD.origin_allowed("http://localhost:8080", "LOCALHOST:8080")
    assert GUARD.origin_allowed("http://[::1]:8080", "[::1]:8080")
    assert not GUARD.origin_listed("http://localhost:8080")
    assert not GUARD.origin_allowed("http://localhost:8081", "localhost:8080")


def test_a_star_lists_every_origin() -> None:
    assert OriginGuard([], ["*"]).origin_allowed("https://any.example", "localhost")
