"""Exchanges as one page of HTML, whole in one file: pictures, timeline, tables.  Pure.

The page is built as a tree of elements, so that a text is a text whoever wrote it: no markup is
ever put together from strings.  It loads nothing and runs nothing, and says so to the browser.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from xml.etree.ElementTree import Element, SubElement, tostring

from appliance.cli.tracing import runs
from appliance.cli.tracing.events_table import HEAD, MOST_EVENTS, cells, remark
from appliance.cli.tracing.svg import MOST_NODES, bars, graph
from appliance.cli.tracing.timeline import end, hits_of, moderated, reranked, story, whereabouts
from appliance.domain.events.compose import COMPOSE
from appliance.domain.events.embedding import EMBEDDING
from appliance.domain.events.retrieve import RETRIEVE
from appliance.domain.events.trace import Traced, number

MOST_TEXT = 100_000  # characters of a prompt or an answer
_STYLE = """
:root { color-scheme: light dark; --back: #fff; --ink: #1b1f24; --soft: #5c6670; --line: #d5dae0;
  --fill: #f4f6f8; --good: #2f7d4f; --bad: #b3362b; --mark: #1f6fb2 }
@media (prefers-color-scheme: dark) { :root { --back: #14171a; --ink: #e6e9ec; --soft: #9aa4ae;
  --line: #363d45; --fill: #1e2328; --good: #63c58b; --bad: #ef8377; --mark: #6db3ee } }
body { background: var(--back); color: var(--ink); font: 15px/1.5 system-ui, sans-serif;
  max-width: 1100px; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.3rem } h2 { font-size: 1.1rem; margin-top: 2.5rem } h3 { font-size: 1rem }
h1, h2, td, pre { overflow-wrap: anywhere }
section + section { border-top: 2px solid var(--line); margin-top: 3rem }
table { border-collapse: collapse; font-size: .9rem; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem .3rem 0; text-align: left;
  vertical-align: top }
th { color: var(--soft); font-weight: 600 }
pre { background: var(--fill); border: 1px solid var(--line); border-radius: 6px; padding: .7rem;
  white-space: pre-wrap; font: 13px/1.5 ui-monospace, monospace; max-height: 30rem; overflow: auto }
pre, td, h1, h2 { unicode-bidi: plaintext }
.soft { color: var(--soft) } .picture { overflow-x: auto }
svg text { font: 12px ui-monospace, monospace; fill: var(--ink) }
svg text.small { font-size: 11px; fill: var(--soft) } svg text.strong { font-weight: 700 }
.edge { fill: none; stroke: var(--soft); stroke-width: 1.4 }
.node rect { fill: var(--fill); stroke-width: 1.5 }
.node.good rect { stroke: var(--good) } .node.bad rect { stroke: var(--bad) }
.bar rect { opacity: .75 } .bar.good rect { fill: var(--good) } .bar.bad rect { fill: var(--bad) }
.tick { stroke: var(--line) } .first { stroke: var(--mark); stroke-width: 2 }
"""
_JOINERS = "\u200c\u200d"  # they belong to words of some scripts, and to emoji


def page(identifier: str, exchanges: Sequence[Traced], notes: Iterable[str]) -> str:
    """The document; `notes` are sentences for its end."""
    html = Element("html", {"lang": "en"})
    _head(SubElement(html, "head"), f"trace {identifier}")
    body = SubElement(html, "body")
    _add(body, "h1", f"trace {identifier}")
    for traced in exchanges:
        _exchange(SubElement(body, "section"), traced)
    for sentence in notes:
        _add(body, "p", sentence, "soft")
    for element in html.iter():  # here, once for all: whoever adds a text cannot forget it
        element.text = shown(element.text or "") or None
    return "<!DOCTYPE html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def shown(text: str) -> str:
    """Without what is no text: control characters, what turns the direction of the words around it,
    halves of surrogate pairs.  Lines stay."""
    return "".join(
        c if c.isprintable() or c in "\n\t" or c in _JOINERS else "\ufffd"
        for c in text.replace("\r\n", "\n")
    )


def _head(head: Element, title: str) -> None:
    SubElement(head, "meta", {"charset": "utf-8"})
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": policy})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width"})
    SubElement(head, "meta", {"name": "referrer", "content": "no-referrer"})
    _add(head, "title", title)
    SubElement(head, "style").text = _STYLE


def _exchange(section: Element, traced: Traced) -> None:
    nodes, chat = traced.nodes, traced.chat
    _add(section, "h2", traced.trace_id)
    _facts(section, traced)
    if picture := bars(nodes, number(chat.get("time_to_first_token_s"))):
        _add(section, "h3", "Timeline")
        SubElement(section, "div", {"class": "picture"}).append(picture)
    if nodes:
        _add(section, "h3", "Lineage")
        SubElement(section, "div", {"class": "picture"}).append(graph(nodes))
        if len(nodes) > MOST_NODES:
            _add(section, "p", f"{len(nodes) - MOST_NODES} more nodes are not drawn", "soft")
    for title, key in (("Prompt", "prompt"), ("Reasoning", "reasoning"), ("Answer", "answer")):
        _quote(section, title, chat.get(key))
    _found(section, traced)
    _tools(section, traced)
    _events(section, traced)
    _runs(section, traced)
    _add(section, "h3", "Step by step")
    _add(section, "pre", "\n".join(story(traced)))


def _facts(section: Element, traced: Traced) -> None:
    told = traced.chat or traced.facts(EMBEDDING) or reranked(traced) or moderated(traced)
    rows = [
        ("correlation", traced.correlation_id),
        ("conversation", traced.conversation_id),
        ("arrived", traced.occurred_at),
        ("where", whereabouts(traced)),
        ("model", f"{told.get('request_model') or ''}"),
        ("answered by", f"{told.get('selected_model') or ''} on {told.get('backend') or ''}"),
        ("ended", end(told)),
    ]
    _table(section, (), [row for row in rows if row[1].strip(" on")])


def _quote(section: Element, title: str, text: object) -> None:
    if isinstance(text, str) and text:
        _add(section, "h3", title)
        _add(section, "pre", text[:MOST_TEXT])
        if len(text) > MOST_TEXT:
            _add(section, "p", f"{len(text) - MOST_TEXT} more characters", "soft")


def _found(section: Element, traced: Traced) -> None:
    composed = traced.facts(COMPOSE)
    hits, cuts = hits_of(traced.facts(RETRIEVE) or {}, composed)
    if hits or cuts:
        _add(section, "h3", "Knowledge")
        keys = ("document", "chunk", "score", "tokens")
        rows = [[*(str(found.get(key, "")) for key in keys), "injected"] for found in hits]
        rows += [
            [*(str(found.get(key, "")) for key in keys), f"cut: {found.get('reason')}"]
            for found in cuts
        ]
        _table(section, (*keys, "what became of it"), rows)


def _tools(section: Element, traced: Traced) -> None:
    if tools := traced.tools:
        _add(section, "h3", "Tools")
        keys = ("kind", "name", "arguments", "result", "result_trace_id")
        rows = [
            [str(tool.get(key) or (key == "result" and tool.get("content")) or "") for key in keys]
            for tool in tools
        ]
        _table(section, ("", "name", "arguments", "result", "brought by trace"), rows)


def _events(section: Element, traced: Traced) -> None:
    _add(section, "h3", "Events")
    listed = traced.events[:MOST_EVENTS]
    _table(section, HEAD, [row for event in listed for row in cells(event)])
    for event in listed:
        if said := remark(event):
            _add(section, "p", f"{event.subject}: {said}", "soft")


def _runs(section: Element, traced: Traced) -> None:
    _add(section, "h3", "Runs of Dagster")
    found = traced.runs or ()
    if not found:
        _add(section, "p", runs.nothing(traced), "soft")
        return
    _table(section, runs.HEAD, [runs.cells(run) for run in found])
    for url in dict.fromkeys(run.url for run in found if run.url):
        SubElement(SubElement(section, "p"), "a", {"href": url}).text = url


def _table(section: Element, head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    table = SubElement(section, "table")
    if head:
        top = SubElement(table, "tr")
        for name in head:
            _add(top, "th", name)
    for row in rows:
        line = SubElement(table, "tr")
        for cell in row:
            _add(line, "td", cell[:MOST_TEXT])


def _add(parent: Element, tag: str, text: str, look: str = "") -> None:
    SubElement(parent, tag, {"class": look} if look else {}).text = text
