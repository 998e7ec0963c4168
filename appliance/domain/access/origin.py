"""Who may reach a gateway without a key: guards against DNS rebinding and foreign web pages.
Pure."""

import ipaddress
from collections.abc import Sequence

REMEMBERED_HOSTS = 64
_LOCAL_NAMES = ("localhost",)


def host_name(header: str) -> str:
    """The name in a Host header, without port and brackets, lower case."""
    name = header.strip().lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    return name.rpartition(":")[0] if name.count(":") == 1 else name


def is_loopback(name: str) -> bool:
    """True for localhost, its subdomains, and loopback addresses."""
    if name in _LOCAL_NAMES or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


class OriginGuard:
    """A rebound name is never an address: addresses and loopback names pass, other names must be
    listed."""

    def __init__(self, allowed_hosts: Sequence[str], allowed_origins: Sequence[str]) -> None:
        self._passed: set[str] = set()
        self._hosts = frozenset(h.lower() for h in allowed_hosts)
        self._origins = frozenset(o.rstrip("/").lower() for o in allowed_origins)

    def host_allowed(self, header: str) -> bool:
        """Whether a request for this Host may be served without a key."""
        if header in self._passed:
            return True
        name = host_name(header)
        allowed = name in self._hosts or is_loopback(name) or _is_address(name)
        if allowed and len(self._passed) < REMEMBERED_HOSTS:
            self._passed.add(header)  # parsing an address costs 15 µs
        return allowed

    def origin_listed(self, origin: str) -> bool:
        """Whether a page of this origin may read our answers (CORS)."""
        return origin.lower() in self._origins or "*" in self._origins

    def origin_allowed(self, origin: str, host: str) -> bool:
        """Listed, or the gateway's own."""
        # An origin is scheme://host:port and nothing else; urlsplit raises on a malformed one.
        own = origin.lower().partition("://")[2]
        return self.origin_listed(origin) or own == host.strip().lower() != ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
