"""The servers a publisher may connect to: those of `[nats] url`, then what their clusters add.
Pure."""

from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from urllib.parse import SplitResult, unquote, urlsplit

from appliance.config.schema import NatsConfig
from appliance.domain.errors import ConfigError

PORT = 4222
SCHEMES = frozenset(("nats", "tls"))


@dataclass(frozen=True, slots=True)
class Server:
    """`login` goes into CONNECT; `tls_name` is what its certificate must be made out to."""

    host: str
    port: int
    tls: bool = False
    tls_name: str = ""
    login: dict[str, object] = field(default_factory=dict, repr=False)

    @property
    def address(self) -> tuple[str, int]:
        """Where it is."""
        return self.host, self.port


class Servers:
    """In the order they are to be tried; the one that answered last is first."""

    def __init__(self, config: NatsConfig) -> None:
        """Raises ConfigError when a url is not one of NATS."""
        self._known = deque(_server(url.strip(), config.token) for url in config.url.split(","))
        self._configured = frozenset(server.address for server in self._known)

    def __len__(self) -> int:
        return len(self._known)

    @property
    def first(self) -> Server:
        """The one to try."""
        return self._known[0]

    def failed(self) -> None:
        """The first did not answer: it is the last now."""
        self._known.rotate(-1)

    def learn(self, urls: Iterable[str], teller: Server) -> None:
        """The members of `teller`'s cluster are `urls` (host:port); they take its login.  Those of
        the configuration stay."""
        name = teller.tls_name or teller.host
        told = []
        for url in urls:
            with suppress(ConfigError):  # a server's mistake must not cost the connection to it
                host, port = _address(url)
                told.append(replace(teller, host=host, port=port, tls_name=name))
        addresses = {server.address for server in told} | self._configured | {teller.address}
        kept = [server for server in self._known if server.address in addresses]
        present = {server.address for server in kept}
        self._known = deque([*kept, *(s for s in told if s.address not in present)])


def _server(url: str, token: str) -> Server:
    parts = _split(url)
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise ConfigError(f"[nats] url: {parts.scheme}://{parts.hostname or ''} is not a NATS url")
    host, port = _address(url)
    return Server(host, port, parts.scheme == "tls", host, _login(parts, token))


def _address(url: str) -> tuple[str, int]:
    parts = _split(url)
    return parts.hostname or "", parts.port or PORT


def _login(parts: SplitResult, token: str) -> dict[str, object]:
    """The token of the configuration, else the url's own: as nats-py does it."""
    if token:
        return {"auth_token": token}
    if parts.username is None:
        return {}
    if parts.password is None:
        return {"auth_token": unquote(parts.username)}
    return {"user": unquote(parts.username), "pass": unquote(parts.password)}


def _split(url: str) -> SplitResult:
    """With a port that can be read."""
    try:
        parts = urlsplit(url if "://" in url else f"nats://{url}")
        parts.port  # noqa: B018  # looked at when it is asked for
    except ValueError:  # what it says may quote half of a password
        raise ConfigError(
            "[nats] url: is not a NATS url; in a password `@ : / [` are `%40 %3A %2F %5B`"
        ) from None
    return parts
