"""What a connection remembers: the newest, within bounds that all connections share."""

from hypothesis import given
from hypothesis import strategies as st

from appliance.domain.responses.memory import MAX_RESPONSES, Memories, Remembered


def of(size_bytes: int, text: str = "x") -> Remembered:
    return Remembered(({"type": "message", "content": text},), "thread", size_bytes)


def test_what_is_remembered_can_be_recalled_until_it_is_forgotten() -> None:
    memory = Memories(100).connection()
    memory.remember("resp_1", of(10))
    assert memory.recall("resp_1") == of(10)
    memory.forget("resp_1")
    assert memory.recall("resp_1") is None
    memory.forget("resp_1")


def test_a_connection_knows_nothing_of_another() -> None:
    memories = Memories(100)
    memories.connection().remember("resp_1", of(10))
    assert memories.connection().recall("resp_1") is None


def test_the_oldest_of_a_connection_go_first() -> None:
    memory = Memories(10_000).connection()
    for number in range(MAX_RESPONSES + 2):
        memory.remember(f"resp_{number}", of(1))
    assert memory.recall("resp_1") is None
    assert memory.recall("resp_2") is not None


def test_the_oldest_of_all_connections_make_room() -> None:
    memories = Memories(100)
    first, second = memories.connection(), memories.connection()
    first.remember("resp_1", of(60))
    second.remember("resp_2", of(60))
    assert first.recall("resp_1") is None
    assert second.recall("resp_2") is not None


def test_one_that_is_too_large_is_not_remembered_and_costs_no_other() -> None:
    memory = Memories(100).connection()
    memory.remember("resp_1", of(60))
    memory.remember("resp_2", of(101))
    assert memory.recall("resp_1") is not None
    assert memory.recall("resp_2") is None


@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from(["keep", "forget", "close"]), st.integers(0, 6)
        )
    )
)
def test_what_is_counted_is_what_is_kept(steps: list[tuple[int, str, int]]) -> None:
    memories = Memories(20)
    connections = [memories.connection() for _ in range(3)]
    for who, step, number in steps:
        memory = connections[who]
        if step == "keep":
            memory.remember(f"resp_{number}", of(number))
        elif step == "forget":
            memory.forget(f"resp_{number}")
        else:
            memory.close()
        kept = [kept.size_bytes for memory in connections for kept in memory.responses.values()]
        assert memories.size_bytes == sum(kept) <= 20
