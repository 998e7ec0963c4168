import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree.ElementTree import fromstring, tostring

import msgspec
import pytest

from appliance.cli.tracing.layout import layered
from appliance.cli.tracing.page import page
from appliance.cli.tracing.svg import bars, graph, path_of
from appliance.domain.events.exchange import Exchange, Hit, Retrieval, Returned
from appliance.domain.events.topics import events_of
from appliance.domain.events.trace import STREAM, Node, Traced, exchange_of
from appliance.infra.postgres.history import event_from
from tests.fakes.flows import flow

HOSTILE = [
    "<script>alert(1)</script>",
    "</style></pre></svg><img src=x onerror=alert(1)>",
    "\" onload='alert(1)' x=\"",
    "]]><!-- --> <?php ?> &lt;b&gt; &#60;",
    "\u202e\u200f\u2066 turned",
    "nul \x00 bell \x07 escape \x1b[31m",
    "half \ud83d",
    "javascript:alert(1)",
]


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


class _Reader(HTMLParser):
    """Which elements and attributes a browser would see, and which text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def _traced(made: Exchange) -> Traced:
    return exchange_of(
        [
            event_from(msgspec.json.decode(msgspec.json.encode(e.body)), e.subject, STREAM)
            for e in events_of(made)
        ]
    )


def _read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    reader.close()
    return reader


def _spoken(word: str) -> dict[str, Any]:
    """`word` wherever somebody outside decides what is written."""
    return {
        "messages": ({"role": "user", "content": word},),
        "answer": word,
        "reasoning": word,
        "request_model": word,
        "selected_model": word,
        "backend": word,
        "error_message": word,
        "error_type": "E",
        "conversation_id": word,
        "retrieval": Retrieval(word, (Hit(word, 1, 0.5),), query=word),
        "tool_calls": ({"id": word, "function": {"name": word, "arguments": word}},),
        "tool_results": (Returned(word, word, word, word),),
    }


@pytest.mark.parametrize("word", HOSTILE)
def test_whatever_was_written_stays_text(word: str) -> None:
    if "\ud83d" in word:  # it cannot come by JSON, only from rows of something else
        made = page(word, [_traced(flow(1))], [word])
    else:
        made = page("id", [_traced(flow(1, **_spoken(word)))], [word])
    plain, seen = _read(page("id", [_traced(flow(1))], ["note"])), _read(made)
    assert set(seen.tags) == set(plain.tags)
    assert seen.tags.count("script") == 0
    assert seen.attributes == plain.attributes
    assert not _CONTROL.search(made)
    made.encode()
    visible = _CONTROL.sub("\ufffd", word).replace("\ud83d", "\ufffd")
    assert visible in seen.text


def test_it_loads_nothing_and_runs_nothing() -> None:
    made = page("id", [_traced(flow(1))], [])
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', made)
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    [style] = re.findall("<style>(.*?)</style>", made, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy
    assert made.index("Content-Security-Policy") < made.index("<style>")
    seen = _read(made)
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(seen.tags)
    assert not {"style", "src", "href", "onload"} & seen.attributes
    assert "url(" not in style
    assert "http" not in re.sub(r'http-equiv="[^"]*"|HTTP \d+', "", made)


def test_it_is_drawn_for_light_and_for_dark() -> None:
    made = page("id", [_traced(flow(1))], [])
    assert "color-scheme: light dark" in made
    light, dark = made.split("prefers-color-scheme: dark", 1)
    names = set(re.findall(r"(--\w+):", light))
    assert names
    assert names == set(re.findall(r"(--\w+):", dark.split("}")[0]))
    assert not re.findall(r'(?:fill|stroke|color)="', made)


def test_it_has_the_pictures_the_tables_and_every_exchange() -> None:
    made = page("thread", [_traced(flow(n)) for n in (1, 2, 3)], ["2 more"])
    seen = _read(made)
    assert seen.tags.count("section") == 3
    assert seen.tags.count("svg") == 6
    for word in (
        "pipeline.knowledge.flow.lineage",
        "manual.md",
        "cut: room",
        "They ask about brakes.",
        "order",
        "first token +0.100 s",
        "2 more",
    ):
        assert word in seen.text


def test_a_very_long_answer_is_cut_and_says_so() -> None:
    made = page("id", [_traced(flow(1, answer="y" * 150_000))], [])
    assert "50000 more characters" in made
    assert len(made) < 200_000


def test_a_picture_is_well_formed_whatever_nodes_are_called() -> None:
    nodes = [Node(word, "llm", word, (), word, 0.0, 0.5) for word in HOSTILE[:4]]
    nodes.append(Node("answer", "answer", "", tuple(HOSTILE[:4]), "finished"))
    drawn = fromstring(tostring(graph(nodes)))
    assert len(drawn.findall(".//rect")) == 5
    assert len(drawn.findall(".//path")) == 4
    timed = bars(nodes, 0.25)
    assert timed is not None
    assert len(fromstring(tostring(timed)).findall(".//rect")) == 4


def test_bars_stand_where_their_times_are() -> None:
    nodes = [Node("a", "llm", "", (), "ok", 0.0, 1.0), Node("b", "llm", "", (), "ok", 1.0, 3.0)]
    drawn = bars(nodes, None)
    assert drawn is not None
    first, second = (rect.attrib for rect in drawn.findall(".//rect"))
    assert float(second["x"]) == pytest.approx(float(first["x"]) + float(first["width"]), abs=0.2)
    assert float(second["width"]) == pytest.approx(3 * float(first["width"]), abs=0.2)


def test_without_a_measured_time_there_are_no_bars() -> None:
    assert bars([Node("a", "llm", "", (), "ok")], None) is None
    assert bars([Node("a", "llm", "", (), "ok", 0.0, 0.0)], None) is None


def test_an_edge_is_drawn_from_the_end_of_one_box_to_the_begin_of_the_next() -> None:
    drawing = layered({"a": [], "b": ["a"], "c": ["b", "a"]})
    for edge in drawing.edges:
        numbers = [float(n) for n in re.findall(r"-?\d+\.\d", path_of(edge))]
        assert tuple(numbers[:2]) == edge.points[0]
        assert tuple(numbers[-2:]) == edge.points[-1]
