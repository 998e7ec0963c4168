import asyncio
import logging
import socket

import pytest

from appliance.domain.errors import ConfigError
from appliance.entrypoints.serve import announce, require_free, split_listen


@pytest.mark.parametrize(
    ("listen", "parted"),
    [
        ("127.0.0.1:8080", ("127.0.0.1", 8080)),
        ("[::1]:80", ("::1", 80)),
        ("localhost:65535", ("localhost", 65535)),
        ("0.0.0.0:1", ("0.0.0.0", 1)),
    ],
)
def test_an_address_is_host_and_port(listen: str, parted: tuple[str, int]) -> None:
    assert split_listen(listen) == parted


@pytest.mark.parametrize("listen", ["", "8080", ":8080", "host:", "host:http", "h:65536", "h:-1"])
def test_anything_else_is_refused_as_written(listen: str) -> None:
    with pytest.raises(ConfigError, match="HOST:PORT") as refused:
        split_listen(listen)
    assert repr(listen) in str(refused.value)


def test_a_port_in_use_is_told_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} on 127.0.0.1 is in use.*--listen"):
            require_free(f"127.0.0.1:{port}")
    require_free(f"127.0.0.1:{port}")


def test_an_address_that_is_not_ours_is_told() -> None:
    with pytest.raises(ConfigError, match=r"cannot listen on 192\.0\.2\.1:9"):
        require_free("192.0.2.1:9")


async def test_listening_is_logged_once_there_is_somebody_to_connect_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "appliance")
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused
        address = f"127.0.0.1:{reserved.getsockname()[1]}"
        told = asyncio.ensure_future(announce(address))
        done, _ = await asyncio.wait({told}, timeout=0.1)
        assert (done, caplog.records) == (set(), [])
        reserved.listen()
        await asyncio.wait_for(told, 60)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("listening", "INFO")
    assert vars(record)["address"] == address
