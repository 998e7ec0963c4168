"""The pictures of `appliance trace --html`: the lineage as a graph, and its nodes as bars over
time.  Pure.

Elements, never markup as text: whoever writes them out escapes what is in them.
"""

from collections.abc import Sequence
from xml.etree.ElementTree import Element, SubElement

from appliance.cli.terminal import clipped, flat
from appliance.cli.tracing.layout import BOX_HEIGHT, BOX_WIDTH, Box, Edge, layered
from appliance.domain.events.trace import Node

MOST_NODES = 200
# Pixels of a letter, in a font of one width of 12 px and of 11 px.
_LETTER, _SMALL_LETTER = 7.3, 6.7
_BAR, _LABEL, _SCALE = 24.0, 230.0, 620.0
_GOOD = frozenset({"ok", "finished"})


def graph(nodes: Sequence[Node]) -> Element:
    """Boxes in layers from the request to the answer, with id, name, status and times."""
    shown = {node.id: node for node in nodes[:MOST_NODES]}
    drawing = layered({i: [p for p in n.parents if p in shown] for i, n in shown.items()})
    svg = _svg(drawing.width, drawing.height, "lineage of the exchange")
    for edge in drawing.edges:
        SubElement(svg, "path", {"class": "edge", "d": path_of(edge)})
    for box in drawing.boxes:
        _box(svg, box, shown[box.id])
    return svg


def path_of(edge: Edge) -> str:
    """As SVG writes it: a curve through every gap, a straight line along every lane."""
    (x, y), *rest = edge.points
    steps = [f"M {x:.1f} {y:.1f}"]
    for number, (to_x, to_y) in enumerate(rest):
        if number % 2 == 0:
            half = (y + to_y) / 2
            steps.append(f"C {x:.1f} {half:.1f} {to_x:.1f} {half:.1f} {to_x:.1f} {to_y:.1f}")
        else:
            steps.append(f"L {to_x:.1f} {to_y:.1f}")
        x, y = to_x, to_y
    return " ".join(steps)


def bars(nodes: Sequence[Node], first_token_s: float | None) -> Element | None:
    """A bar for each node that was measured, from its beginning to its end; None without one."""
    measured = [n for n in nodes[:MOST_NODES] if n.duration_s is not None]
    total = max([_end(node) for node in measured] + [first_token_s or 0.0], default=0.0)
    if total <= 0:
        return None
    height = _BAR * (len(measured) + 1) + 16
    svg = _svg(_LABEL + _SCALE + 110, height, "when each step began and how long it took")
    for quarter in range(5):
        _tick(svg, quarter / 4, total * quarter / 4, height)
    for number, node in enumerate(measured):
        _bar(svg, node, _BAR * (number + 1), total)
    if first_token_s is not None:
        at = f"{_LABEL + _SCALE * first_token_s / total:.1f}"
        line = {"class": "first", "x1": at, "x2": at, "y1": f"{_BAR}", "y2": f"{height - 16}"}
        SubElement(SubElement(svg, "line", line), "title").text = "first token"
        _text(svg, float(at) + 3, height - 4, f"first token +{first_token_s:.3f} s", "small")
    return svg


def _box(svg: Element, box: Box, node: Node) -> None:
    group = SubElement(svg, "g", {"class": f"node {_look(node)}"})
    times = _times(node)
    said = f"{node.id}  {node.name}\n{node.status}  {times}"
    SubElement(group, "title").text = said
    size = {"width": f"{BOX_WIDTH:.1f}", "height": f"{BOX_HEIGHT:.1f}", "rx": "6"}
    SubElement(group, "rect", {"x": f"{box.x:.1f}", "y": f"{box.y:.1f}", **size})
    for number, (text, look) in enumerate(
        ((node.id, "strong"), (node.name, ""), (f"{node.status}  {times}".strip(), "small"))
    ):
        letter = _SMALL_LETTER if look == "small" else _LETTER
        shown = clipped(flat(text), int((BOX_WIDTH - 20) / letter))
        _text(group, box.x + 10, box.y + 18 + 16 * number, shown, look)


def _bar(svg: Element, node: Node, y: float, total: float) -> None:
    group = SubElement(svg, "g", {"class": f"bar {_look(node)}"})
    SubElement(group, "title").text = f"{node.id}  {node.name}\n{_times(node)}"
    label = clipped(flat(f"{node.id}  {node.name}"), int((_LABEL - 16) / _LETTER))
    _text(group, 4, y + 15, label, "")
    began, took = max(0.0, node.began_s or 0.0), max(0.0, node.duration_s or 0.0)
    x, width = _LABEL + _SCALE * began / total, max(2.0, _SCALE * took / total)
    size = {"width": f"{width:.1f}", "height": f"{_BAR - 8:.1f}", "rx": "3"}
    SubElement(group, "rect", {"x": f"{x:.1f}", "y": f"{y + 4:.1f}", **size})
    _text(group, x + width + 5, y + 15, f"{took:.3f} s", "small")


def _tick(svg: Element, share: float, at_s: float, height: float) -> None:
    x = _LABEL + _SCALE * share
    ends = {"x1": f"{x:.1f}", "x2": f"{x:.1f}", "y1": f"{_BAR}", "y2": f"{height - 16:.1f}"}
    SubElement(svg, "line", {"class": "tick", **ends})
    _text(svg, x + 3, 15, f"{at_s:.3f} s", "small")


def _svg(width: float, height: float, label: str) -> Element:
    size = {"width": f"{width:.0f}", "height": f"{height:.0f}"}
    box = f"0 0 {width:.0f} {height:.0f}"
    return Element("svg", {**size, "viewBox": box, "role": "img", "aria-label": label})


def _text(parent: Element, x: float, y: float, text: str, look: str) -> None:
    where = {"x": f"{x:.1f}", "y": f"{y:.1f}"} | ({"class": look} if look else {})
    SubElement(parent, "text", where).text = text


def _times(node: Node) -> str:
    began = f"+{node.began_s:.3f} s" if node.began_s is not None else ""
    took = f"{node.duration_s:.3f} s" if node.duration_s is not None else ""
    return f"{began}  {took}".strip()


def _look(node: Node) -> str:
    return "good" if node.status in _GOOD else "bad"


def _end(node: Node) -> float:
    return max(0.0, node.began_s or 0.0) + max(0.0, node.duration_s or 0.0)
