import socket

from appliance.infra.supervise.ports import free_ports


def test_ports_are_different_free_and_below_the_ephemeral_range() -> None:
    found = free_ports(20)
    assert len(set(found)) == 20
    assert all(20000 <= port < 32768 for port in found)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", found[0]))
