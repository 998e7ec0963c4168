import json

import pytest

from appliance.infra.nats.publisher.wire import (
    HEADER_BYTES,
    MOST_BYTES,
    Info,
    Parser,
    ProtocolError,
    connect_line,
    publish_head,
)

NOBODY = b"NATS/1.0 503\r\n\r\n"
SAID = (
    b'INFO {"server_id":"A","headers":true,"max_payload":4096,"connect_urls":["h:4223"]} \r\n'
    b"+OK\r\n"
    b"PING\r\n"
    b"PONG\r\n"
    b'MSG _INBOX.a.7 1 15\r\n{"seq":1,"x":2}\r\n'
    b"MSG _INBOX.a.8 1 reply.to 6\r\nab\r\ncd\r\n"
    b"HMSG _INBOX.a.9 1 16 16\r\n" + NOBODY + b"\r\n"
    b"HMSG _INBOX.a.9 1 reply.to 16 18\r\n" + NOBODY + b"ok\r\n"
    b"MSG _INBOX.a.10 1 0\r\n\r\n"
    b"-ERR 'Permissions Violation for Publish to \"pipeline.x\"'\r\n"
)
HEARD = [
    ("info", Info(max_payload=4096, headers=True, connect_urls=("h:4223",))),
    "ping",
    "pong",
    ("message", b"_INBOX.a.7", b"", b'{"seq":1,"x":2}'),
    ("message", b"_INBOX.a.8", b"", b"ab\r\ncd"),
    ("message", b"_INBOX.a.9", NOBODY, b""),
    ("message", b"_INBOX.a.9", NOBODY, b"ok"),
    ("message", b"_INBOX.a.10", b"", b""),
    ("error", 'Permissions Violation for Publish to "pipeline.x"'),
]


class Ear:
    """Writes down what it is told."""

    def __init__(self) -> None:
        self.heard: list[object] = []

    def on_info(self, info: Info) -> None:
        self.heard.append(("info", info))

    def on_message(self, subject: bytes, headers: bytes, payload: bytes) -> None:
        self.heard.append(("message", subject, headers, payload))

    def on_ping(self) -> None:
        self.heard.append("ping")

    def on_pong(self) -> None:
        self.heard.append("pong")

    def on_error(self, text: str) -> None:
        self.heard.append(("error", text))


def _heard(*pieces: bytes) -> list[object]:
    ear = Ear()
    parser = Parser(ear)
    for piece in pieces:
        parser.feed(piece)
    return ear.heard


def test_everything_in_one_read_is_told_in_order() -> None:
    assert _heard(SAID) == HEARD


def test_every_split_tells_the_same() -> None:
    for cut in range(1, len(SAID)):
        assert _heard(SAID[:cut], SAID[cut:]) == HEARD, cut


def test_byte_by_byte_tells_the_same() -> None:
    assert _heard(*(SAID[at : at + 1] for at in range(len(SAID)))) == HEARD


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"MSG a 1 x\r\n",
        b"MSG a 1 -5\r\n",
        b"MSG 5\r\n",
        b"MSG a 1 99999999999\r\nx",
        b"MSG a 1 2\r\nabcd\r\n",
        b"INFO not json\r\n",
        b"x" * (MOST_BYTES + 1),
    ],
)
def test_what_is_not_nats_is_refused(said: bytes) -> None:
    with pytest.raises(ProtocolError):
        _heard(said)


def test_a_message_says_its_sizes_and_its_id() -> None:
    head = publish_head("pipeline.a", "_INBOX.x.1 ", "id:7", 5)
    line, header = head.split(b"\r\n", 1)
    assert header == b"NATS/1.0\r\nNats-Msg-Id: id:7\r\n\r\n"
    assert line == b"HPUB pipeline.a _INBOX.x.1 %d %d" % (len(header), len(header) + 5)
    assert len(header) == HEADER_BYTES + len("id:7")


def test_a_message_that_wants_no_answer_names_none() -> None:
    assert publish_head("t.a", "", "i", 0).startswith(b"HPUB t.a 28 28\r\n")


def test_an_id_that_cannot_be_a_header_is_refused() -> None:
    with pytest.raises(UnicodeEncodeError):
        publish_head("t.a", "", "é", 0)


def test_connect_asks_for_headers_and_for_word_when_nobody_listens() -> None:
    line = connect_line({"auth_token": "s", "name": "desk"})
    assert line.startswith(b"CONNECT ")
    assert line.endswith(b"\r\n")
    said = json.loads(line[8:])
    assert said["headers"] is said["no_responders"] is True
    assert said["verbose"] is said["echo"] is False
    assert (said["auth_token"], said["name"]) == ("s", "desk")
