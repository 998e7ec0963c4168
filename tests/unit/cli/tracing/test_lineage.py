from appliance.cli.terminal import columns
from appliance.cli.tracing.lineage import lineage
from appliance.domain.events.lineage import LINEAGE
from appliance.domain.events.topics import events_of
from appliance.domain.events.trace import Node, nodes_of
from tests.fakes.flows import flow

GOLDEN = """\
request  openai_chat                                 ok                     +0.000 s    0.500 s
├─ embedding  minilm                                 ok                     +0.001 s    0.010 s
│  └─ retrieve  garage                               ok                     +0.002 s    0.020 s
│     └─ compose                                     ok
│        ├─ llm:1  qwen3-8b                          BackendTimeout         +0.025 s    0.050 s
│        │     also from result:0
│        └─ llm:2  qwen3-8b-q4                       ok                     +0.080 s    0.400 s
│           │  also from result:0
│           ├─ tool:0  order                         ok
│           └─ tool:1  remind                        ok
│              └─ answer  qwen3-8b-q4                finished               +0.100 s    0.400 s
│                    also from llm:2, tool:0
└─ result:0  look                                    ok"""


def _node(identifier: str, *parents: str, name: str = "", status: str = "ok") -> Node:
    return Node(identifier, "llm", name, parents, status)


def test_an_exchange_with_everything_is_a_tree_that_names_its_other_parents() -> None:
    [body] = [e.body for e in events_of(flow(3)) if e.subject == LINEAGE]
    assert "\n".join(lineage(nodes_of(body["nodes"]))) == GOLDEN


def test_a_node_without_parents_begins_a_tree_of_its_own() -> None:
    lines = [line.split("  ")[0] for line in lineage([_node("a"), _node("b"), _node("c", "b")])]
    assert lines == ["a", "b", "└─ c"]


def test_a_chain_of_any_depth_stays_within_its_columns() -> None:
    chain = [_node("n0")] + [_node(f"n{n}", f"n{n - 1}") for n in range(1, 150)]
    lines = list(lineage(chain))
    assert len(lines) == 150
    assert max(map(columns, lines)) <= 98
    assert all(f"n{n}" in line for n, line in enumerate(lines))


def test_of_very_many_nodes_the_first_are_drawn_and_the_others_counted() -> None:
    nodes = [_node("request")] + [_node(f"tool:{n}", "request") for n in range(500)]
    lines = list(lineage([*nodes, _node("answer", *(node.id for node in nodes[1:]))]))
    assert lines[-1] == "… and 302 more"
    assert len(lines) == 201


def test_what_a_name_holds_cannot_command_the_terminal() -> None:
    hostile = "\x1b[2J\u202e\x00" + "漢" * 80
    lines = list(lineage([_node(hostile, name=hostile, status=hostile)]))
    assert all(line.isprintable() for line in lines)
    assert max(map(columns, lines)) <= 98
