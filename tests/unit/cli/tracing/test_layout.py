from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from appliance.cli.tracing.layout import Box, Drawing, Edge, layered
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.topics import events_of
from appliance.domain.events.trace import nodes_of
from tests.fakes.flows import flow

Graph = dict[str, list[str]]


@st.composite
def _graphs(draw: st.DrawFn) -> Graph:
    """Any graph without cycles of up to fourteen nodes."""
    count = draw(st.integers(1, 14))
    return {
        f"n{n}": sorted(draw(st.sets(st.sampled_from([f"n{m}" for m in range(n)]), max_size=4)))
        if n
        else []
        for n in range(count)
    }


def _flow() -> Graph:
    [body] = [e.body for e in events_of(flow(1)) if e.subject == LINEAGE]
    return {node.id: list(node.parents) for node in nodes_of(body["nodes"])}


def _points(edge: Edge) -> list[tuple[float, float]]:
    """The edge as a polygon: the curves of svg.py in ten steps, the lanes as they are."""
    found = [edge.points[0]]
    for number, (x, y) in enumerate(edge.points[1:]):
        from_x, from_y = found[-1]
        for step in range(1, 11):
            t = step / 10
            bend = 3 * t**2 - 2 * t**3 if number % 2 == 0 else t
            rise = 1.5 * t - 1.5 * t**2 + t**3 if number % 2 == 0 else t
            found.append((from_x + (x - from_x) * bend, from_y + (y - from_y) * rise))
    return found


def _within(box: Box, x: float, y: float) -> bool:
    return box.x < x < box.x + box.width and box.y < y < box.y + box.height


def _holds(drawing: Drawing, graph: Graph) -> None:
    boxes = {box.id: box for box in drawing.boxes}
    assert boxes.keys() == graph.keys()
    for one, other in combinations(drawing.boxes, 2):
        beside = one.x + one.width <= other.x or other.x + other.width <= one.x
        above = one.y + one.height <= other.y or other.y + other.height <= one.y
        assert beside or above, (one, other)
    for box in drawing.boxes:
        assert 0 <= box.x <= drawing.width - box.width
        assert 0 <= box.y <= drawing.height - box.height
    wanted = sorted((parent, node) for node, parents in graph.items() for parent in parents)
    assert sorted((edge.source, edge.target) for edge in drawing.edges) == wanted
    for edge in drawing.edges:
        source, target = boxes[edge.source], boxes[edge.target]
        assert edge.points[0] == (source.middle, source.y + source.height)
        assert edge.points[-1] == (target.middle, target.y)
        crossed = [b.id for b in drawing.boxes for x, y in _points(edge) if _within(b, x, y)]
        assert crossed == []


@given(_graphs())
def test_no_boxes_overlap_and_edges_end_at_boxes_and_cross_none(graph: Graph) -> None:
    _holds(layered(graph), graph)


def test_an_exchange_with_everything_is_drawn_from_top_to_bottom() -> None:
    graph = _flow()
    drawing = layered(graph)
    _holds(drawing, graph)
    tops = {box.id: box.y for box in drawing.boxes}
    assert min(tops, key=lambda node: tops[node]) == "request"
    assert max(tops, key=lambda node: tops[node]) == "answer"
    assert all(tops[parent] < tops[node] for node, parents in graph.items() for parent in parents)


def test_nothing_is_an_empty_drawing() -> None:
    assert layered({}).boxes == ()
