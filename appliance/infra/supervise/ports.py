"""Free loopback ports for the parts."""

import random
import socket

# Below the ephemeral range (32768 and up on Linux): while a part restarts, no outgoing connection
# of another program can be given its port.
_RANGE = range(20000, 32000)


def free_ports(count: int) -> list[int]:
    """`count` different ports of 127.0.0.1 that nobody listens on now."""
    found: list[int] = []
    for port in random.sample(_RANGE, len(_RANGE)):
        if len(found) == count:
            break
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        found.append(port)
    return found
