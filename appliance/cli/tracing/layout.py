"""Where the nodes of a graph are drawn: in layers from top to bottom, edges beside the boxes of the
layers they pass.  Pure geometry, in pixels.

An edge that skips a layer gets a lane there, as narrow as a line: the order within a layer is found
for boxes and lanes alike, so no edge crosses a box.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from operator import attrgetter

BOX_WIDTH, BOX_HEIGHT = 240.0, 58.0
GAP_X, GAP_Y, MARGIN = 26.0, 44.0, 12.0
LANE_WIDTH = 10.0
_SWEEPS = 4


@dataclass(frozen=True, slots=True)
class Box:
    """A node's rectangle; `x` and `y` are its left and upper edge."""

    id: str
    x: float
    y: float
    width: float = BOX_WIDTH
    height: float = BOX_HEIGHT

    @property
    def middle(self) -> float:
        """Of its upper and lower edge."""
        return self.x + self.width / 2


@dataclass(frozen=True, slots=True)
class Edge:
    """From the lower edge of `source` to the upper edge of `target`.  Between an even point and the
    next it is a curve in the gap of two layers, between an odd one and the next a straight lane."""

    source: str
    target: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """All of it, within `width` and `height`."""

    width: float
    height: float
    boxes: tuple[Box, ...]
    edges: tuple[Edge, ...]


@dataclass(slots=True)
class _Slot:
    """A box, or the lane of an edge (`box` is ""), with its neighbours in the layers `before` and
    `after`."""

    box: str
    before: list["_Slot"]
    after: list["_Slot"]
    place: float = 0.0
    x: float = 0.0

    @property
    def width(self) -> float:
        """Of what is drawn in it."""
        return BOX_WIDTH if self.box else LANE_WIDTH


def layered(parents: Mapping[str, Sequence[str]]) -> Drawing:
    """Draw nodes, given in an order in which parents come first, below their parents."""
    layers, chains = _layers(parents)
    _arrange(layers)
    width = _place(layers)
    tops = [MARGIN + number * (BOX_HEIGHT + GAP_Y) for number in range(len(layers))]
    boxes = [
        Box(slot.box, slot.x, top)
        for layer, top in zip(layers, tops, strict=True)
        for slot in layer
        if slot.box
    ]
    height = (tops[-1] + BOX_HEIGHT if tops else 0.0) + MARGIN
    top_of = {id(slot): top for layer, top in zip(layers, tops, strict=True) for slot in layer}
    edges = [_edge(chain, top_of) for chain in chains]
    return Drawing(width, height, tuple(boxes), tuple(edges))


def _layers(
    parents: Mapping[str, Sequence[str]],
) -> tuple[list[list[_Slot]], list[list[_Slot]]]:
    """The slots of each layer, and every edge as the slots it goes through."""
    depth: dict[str, int] = {}
    for node, above in parents.items():
        depth[node] = max((depth[p] + 1 for p in above), default=0)
    layers: list[list[_Slot]] = [[] for _ in range(max(depth.values(), default=-1) + 1)]
    boxes: dict[str, _Slot] = {}
    chains = []
    for node, above in parents.items():
        boxes[node] = _Slot(node, [], [])
        layers[depth[node]].append(boxes[node])
        for parent in above:
            chain = [boxes[parent]]
            for number in range(depth[parent] + 1, depth[node]):
                chain.append(_Slot("", [], []))
                layers[number].append(chain[-1])
            chain.append(boxes[node])
            for upper, lower in pairwise(chain):
                upper.after.append(lower)
                lower.before.append(upper)
            chains.append(chain)
    return layers, chains


def _arrange(layers: list[list[_Slot]]) -> None:
    """Each slot near the middle of its neighbours: down along the parents, up along the children.

    Source: the barycentre method of Sugiyama, Tagawa and Toda (1981).
    """
    for layer in layers:
        _number(layer)
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for layer in layers if down else reversed(layers):
            for slot in layer:
                slot.place = _middle(slot.before if down else slot.after, slot.place)
            layer.sort(key=attrgetter("place"))
            _number(layer)


def _number(layer: list[_Slot]) -> None:
    """Their places, from 0 on the left to 1 on the right."""
    for number, slot in enumerate(layer):
        slot.place = (number + 0.5) / len(layer)


def _middle(near: list[_Slot], alone: float) -> float:
    return sum(each.place for each in near) / len(near) if near else alone


def _place(layers: list[list[_Slot]]) -> float:
    """Set every slot's x, each layer centred; the width of all."""
    widths = [sum(s.width for s in layer) + GAP_X * (len(layer) - 1) for layer in layers]
    widest = max(widths, default=0.0)
    for layer, width in zip(layers, widths, strict=True):
        x = MARGIN + (widest - width) / 2
        for slot in layer:
            slot.x = x
            x += slot.width + GAP_X
    return widest + 2 * MARGIN


def _edge(chain: list[_Slot], top_of: Mapping[int, float]) -> Edge:
    points = []
    for number, slot in enumerate(chain):
        middle, top = slot.x + slot.width / 2, top_of[id(slot)]
        if number > 0:
            points.append((middle, top))
        if number < len(chain) - 1:
            points.append((middle, top + BOX_HEIGHT))
    return Edge(chain[0].box, chain[-1].box, tuple(points))
