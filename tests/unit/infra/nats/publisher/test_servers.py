import traceback

import pytest

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError
from appliance.infra.nats.publisher.servers import Servers


def _all(servers: Servers) -> list[tuple[str, int]]:
    found = []
    for _ in range(len(servers)):
        found.append(servers.first.address)
        servers.failed()
    return found


def test_urls_are_tried_in_their_order_and_go_round() -> None:
    servers = Servers(NatsConfig(url="nats://a:1, b , tls://[::1]:3"))
    wanted = [("a", 1), ("b", 4222), ("::1", 3)]
    assert _all(servers) == wanted
    assert _all(servers) == wanted


@pytest.mark.parametrize(
    ("url", "token", "login"),
    [
        ("nats://h", "", {}),
        ("nats://h", "t", {"auth_token": "t"}),
        ("nats://s%40x@h", "", {"auth_token": "s@x"}),
        ("nats://me:p%3Ass@h", "", {"user": "me", "pass": "p:ss"}),
        ("nats://me:pass@h", "t", {"auth_token": "t"}),
    ],
)
def test_a_login_is_the_token_or_what_the_url_says(
    url: str, token: str, login: dict[str, str]
) -> None:
    assert Servers(NatsConfig(url=url, token=token)).first.login == login


def test_tls_is_a_matter_of_the_scheme() -> None:
    assert Servers(NatsConfig(url="tls://h")).first.tls
    assert not Servers(NatsConfig(url="nats://h")).first.tls


@pytest.mark.parametrize("url", ["ws://h", "nats://", "http://h:1", "nats://h:99999"])
def test_what_is_not_a_nats_url_is_refused_without_its_password(url: str) -> None:
    with pytest.raises(ConfigError, match="nats") as refused:
        Servers(NatsConfig(url=url.replace("//", "//me:secret@")))
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["nats://me:secret/word@h", "nats://me:secret[word@h"])
def test_nor_is_half_of_a_password_told_that_should_have_been_escaped(url: str) -> None:
    with pytest.raises(ConfigError, match="%2F") as refused:
        Servers(NatsConfig(url=url))
    assert "secret" not in "".join(traceback.format_exception(refused.value))


def test_a_cluster_adds_its_members_and_takes_them_away_and_ours_stay() -> None:
    servers = Servers(NatsConfig(url="tls://a:1,tls://b:2", token="t"))
    servers.learn(["10.0.0.1:4222", "b:2", "::2:4222"], servers.first)  # the last is no address
    assert _all(servers) == [("a", 1), ("b", 2), ("10.0.0.1", 4222)]
    servers.failed()
    servers.failed()
    learned = servers.first
    assert (learned.tls, learned.tls_name, learned.login) == (True, "a", {"auth_token": "t"})
    servers.learn(["10.0.0.2:4222"], learned)
    assert set(_all(servers)) == {("a", 1), ("b", 2), ("10.0.0.1", 4222), ("10.0.0.2", 4222)}
    servers.failed()
    servers.learn([], servers.first)
    assert {("a", 1), ("b", 2)} <= set(_all(servers))
