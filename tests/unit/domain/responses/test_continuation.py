"""A request that continues a response knows what was said before."""

import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.turn import Caller
from appliance.domain.errors import InvalidRequest, NotFound, PartUnavailable
from appliance.domain.identity import Identity
from tests.fakes.chat_backend import FakeBackend, said
from tests.fakes.responses import Gateway, MemoryEvents, MemoryResponses, asked, caller, gateway


async def answered(
    one: Gateway, text: str, trace_id: str, previous: str = "", conversation: str = ""
) -> list[str]:
    """What the backend was asked, once it has answered."""
    production = await one.service.begin(
        asked(text, previous_response_id=previous, conversation=conversation), caller(trace_id)
    )
    await production.once()
    return [message.text for message in production.turn.request.messages]


async def test_it_gets_all_that_was_said_in_order_and_its_conversation() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents())
    await answered(one, "first", "t1")
    await answered(one, "second", "t2", "resp_t1")
    seen = await answered(one, "third", "t3", "resp_t2")
    assert seen == ["first", "Hello", "second", "Hello", "third"]
    assert [row.conversation_id for row in store.rows.values()] == ["c-t1", "c-t1", "c-t1"]
    assert {exchange.conversation_id for exchange in one.exchanges.kept} == {"c-t1"}


async def test_the_conversation_its_client_names_counts_more() -> None:
    store = MemoryResponses()
    one = gateway(store, MemoryEvents())
    await answered(one, "first", "t1")
    await answered(one, "second", "t2", "resp_t1", conversation="ours")
    await answered(one, "third", "t3", "resp_t2")
    found = [row.conversation_id for row in store.rows.values()]
    assert found == ["c-t1", "ours", "ours"]


async def test_what_a_connection_remembers_is_not_looked_up() -> None:
    store = MemoryResponses()
    store.away = True
    one = gateway(store, MemoryEvents())
    production = await one.service.begin(
        asked("now", previous_response_id="resp_t1"),
        caller("t2"),
        earlier=[{"text": "before"}],
        conversation_id="c-t1",
    )
    assert [m.text for m in production.turn.request.messages] == ["before", "now"]
    assert production.conversation_id == "c-t1"


async def test_one_that_is_not_there_is_named() -> None:
    one = gateway(MemoryResponses(), MemoryEvents())
    with pytest.raises(NotFound, match="resp_t1") as failed:
        await answered(one, "second", "t2", "resp_t1")
    assert failed.value.code == "previous_response_not_found"
    assert failed.value.param == "previous_response_id"


async def test_another_keys_is_as_unknown_as_none() -> None:
    one = gateway(MemoryResponses(), MemoryEvents())
    production = await one.service.begin(asked(), caller("t1", "alice"))
    await production.once()
    with pytest.raises(NotFound) as failed:
        await one.service.begin(asked(previous_response_id="resp_t1"), caller("t2", "bob"))
    assert failed.value.code == "previous_response_not_found"


async def test_a_chain_with_a_link_that_is_gone_is_not_continued_without_it() -> None:
    one = gateway(MemoryResponses(), MemoryEvents())
    await answered(one, "first", "t1")
    await answered(one, "second", "t2", "resp_t1")
    await one.service.delete("resp_t1", caller("t9"))
    with pytest.raises(NotFound, match="resp_t1"):
        await answered(one, "third", "t3", "resp_t2")


async def test_a_chain_that_is_too_long_is_refused() -> None:
    one = gateway(MemoryResponses(), MemoryEvents(), max_chain=2)
    await answered(one, "first", "t1")
    await answered(one, "second", "t2", "resp_t1")
    await answered(one, "third", "t3", "resp_t2")
    with pytest.raises(InvalidRequest) as failed:
        await answered(one, "fourth", "t4", "resp_t3")
    assert failed.value.code == "previous_response_chain_too_long"


async def test_one_that_is_still_in_progress_is_refused() -> None:
    one = gateway(MemoryResponses(), MemoryEvents(), FakeBackend("local", ([9.0, *said("x")],)))
    production = await one.service.begin(asked(background=True), caller("t1"))
    await production.open()
    with pytest.raises(InvalidRequest, match="in progress"):
        await answered(one, "second", "t2", "resp_t1")
    await one.service.cancel("resp_t1", caller("t9"))


async def test_without_postgresql_nothing_can_be_continued() -> None:
    store = MemoryResponses()
    store.away = True
    with pytest.raises(PartUnavailable):
        await answered(gateway(store, MemoryEvents()), "second", "t2", "resp_t1")


async def test_its_input_can_be_read_again() -> None:
    one = gateway(MemoryResponses(), MemoryEvents())
    await answered(one, "first", "t1")
    assert await one.service.input_items("resp_t1", caller("t9")) == [{"text": "first"}]


async def test_a_key_without_the_workspace_is_refused_before_anything_happens() -> None:
    one = gateway(MemoryResponses(), MemoryEvents())
    ask = asked("hi", workspace="secret")
    held = Caller(Identity("t1", "c"), "openai_responses", Key("bob", "", ("open",)))
    with pytest.raises(Exception, match="secret"):
        await one.service.begin(ask, held)
