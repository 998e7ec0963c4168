import socket

import pytest

from tests.fakes.ports import free_port


def test_a_port_refuses_and_is_given_to_nobody_else_until_somebody_listens_there() -> None:
    port = free_port()
    with socket.socket() as client, pytest.raises(ConnectionRefusedError):
        client.connect(("127.0.0.1", port))
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))


def test_a_part_may_listen_there_and_again_after_its_end() -> None:
    port = free_port()
    for _ in range(2):
        with (
            socket.create_server(("127.0.0.1", port)),
            socket.create_connection(("127.0.0.1", port)),
        ):
            pass


def test_no_port_is_handed_out_twice_while_it_is_held() -> None:
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)
