"""The lineage of an exchange as lines of text: a tree that names the parents it has no branch for.
Pure."""

from collections.abc import Iterator, Sequence

from appliance.cli.terminal import flat, padded, wrapped
from appliance.domain.events.trace import Node

MOST_NODES = 200
_LABEL, _STATUS, _WIDTH = 52, 20, 96
_DEEPEST = 12  # levels that are indented; a graph of ours has seven


def lineage(nodes: Sequence[Node]) -> Iterator[str]:
    """A line a node, children under the deepest of their parents, then when it began (seconds from
    the request's arrival) and how long it took."""
    shown = nodes[:MOST_NODES]
    children = _children(shown)
    by_id = {node.id: node for node in shown}
    waiting = [(identifier, "", "") for identifier in reversed(children[""])]
    while waiting:
        identifier, branch, below = waiting.pop()
        node = by_id[identifier]
        yield _line(node, branch)
        yield from _also(node, children, below)
        for number, child in enumerate(reversed(children[identifier])):
            ends = number == 0
            flat = len(below) >= 3 * _DEEPEST
            waiting.append(
                (
                    child,
                    below if flat else below + ("└─ " if ends else "├─ "),
                    below if flat else below + ("   " if ends else "│  "),
                )
            )
    if len(nodes) > MOST_NODES:
        yield f"… and {len(nodes) - MOST_NODES} more"


def depths(nodes: Sequence[Node]) -> dict[str, int]:
    """By id, how many steps the longest way from a beginning to the node has."""
    found: dict[str, int] = {}
    for node in nodes:
        found[node.id] = max((found[p] + 1 for p in node.parents if p in found), default=0)
    return found


def _children(nodes: Sequence[Node]) -> dict[str, list[str]]:
    """The tree: by id, the nodes below it; those below nobody are under ""."""
    deep = depths(nodes)
    found: dict[str, list[str]] = {"": [], **{node.id: [] for node in nodes}}
    for node in nodes:
        found[_above(node, deep)].append(node.id)
    return found


def _above(node: Node, deep: dict[str, int]) -> str:
    """The last of its deepest parents: a node stands below all it came from."""
    known = [parent for parent in node.parents if parent in deep]
    return max(reversed(known), key=lambda parent: deep[parent], default="")


def _line(node: Node, branch: str) -> str:
    label = padded(branch + flat(node.id) + "  " + flat(node.name), _LABEL)
    began = f"+{node.began_s:.3f} s" if node.began_s is not None else ""
    took = f"{node.duration_s:.3f} s" if node.duration_s is not None else ""
    return f"{label} {padded(flat(node.status), _STATUS)}{began:>11}{took:>11}".rstrip()


def _also(node: Node, children: dict[str, list[str]], below: str) -> Iterator[str]:
    others = [p for p in node.parents if node.id not in children.get(p, ())]
    if others:
        start = below + ("│  " if children[node.id] else "   ")
        said = "also from " + ", ".join(map(flat, others))
        yield from (start + line for line in wrapped(said, _WIDTH - len(start)))
