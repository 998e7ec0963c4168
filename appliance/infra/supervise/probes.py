"""Ask a part on this machine whether it is there.  No client library: a probe must cost next to
nothing.
"""

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

LEADS, STANDS_BY = "leads", "stands by: another dagster role has the database"


async def http_status(url: str, *, timeout_s: float = 5.0) -> int | None:
    """The status of a GET on a plain `http://` URL; None when nothing answers in time."""
    parts = urlsplit(url)
    request = (
        f"GET {parts.path or '/'} HTTP/1.1\r\nHost: {parts.netloc}\r\nConnection: close\r\n\r\n"
    )
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            try:
                writer.write(request.encode())
                words = (await reader.readline()).split()
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    except OSError:  # TimeoutError included
        return None
    return int(words[1]) if len(words) > 1 and words[1].isdigit() else None


async def dagster_state(page: str) -> str:
    """Of the `dagster` role whose pages are at `page`: LEADS, STANDS_BY (another has the database,
    and its own page says so with 503), or "" when it does not answer."""
    return {200: LEADS, 503: STANDS_BY}.get(await http_status(f"{page}/server_info") or 0, "")


async def socket_accepts(path: str, *, timeout_s: float = 5.0) -> bool:
    """True when somebody takes connections on the UNIX socket at `path`."""
    try:
        async with asyncio.timeout(timeout_s):
            _, writer = await asyncio.open_unix_connection(path)
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    except OSError:  # TimeoutError included
        return False
    return True


async def http_answers(url: str, *, timeout_s: float = 5.0) -> bool:
    """True when a GET on `url` is answered with 200."""
    return await http_status(url, timeout_s=timeout_s) == 200
