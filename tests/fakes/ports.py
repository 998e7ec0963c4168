"""Ports of 127.0.0.1 for the parts of tests: nobody else is given one that was handed out."""

import socket
from collections import deque

_MOST = 256  # held at once: a worker's open files are limited
_HELD: deque[socket.socket] = deque()


def free_port() -> int:
    """A port that nobody listens on, and that refuses connections until somebody does.

    It stays ours while a part starts, or is killed and starts again.  A socket that is bound and
    does not listen keeps the kernel from giving the port to anybody who asks for any, in this
    process or in another; with SO_REUSEADDR, which every server sets, a part may listen there
    all the same.
    """
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    _HELD.append(held)
    if len(_HELD) > _MOST:
        _HELD.popleft().close()
    port: int = held.getsockname()[1]
    return port
