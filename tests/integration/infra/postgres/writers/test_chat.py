from appliance.domain.events.chat import PERSIST
from appliance.domain.events.delivery import Delivery
from appliance.domain.events.privacy import withheld
from appliance.infra.postgres.pool import PostgresPool
from appliance.infra.postgres.writers import writer_for
from tests.fakes.deliveries import changed, deliveries, rows
from tests.integration.infra.postgres.writers.exchanges import call, whole

ANSWER = """
SELECT c.content, c.message, h.detail, h.status, h.finish_reason, h.stream_sequence
FROM chat_history h JOIN message_contents c ON c.hash = h.content_hash
WHERE h.detail IS NOT NULL ORDER BY h.stream_sequence
"""


async def _write(pool: PostgresPool, *batch: Delivery) -> None:
    assert not (await writer_for(PERSIST, pool).write(batch)).rejected


async def test_an_answer_keeps_its_reasoning_and_its_calls_beside_the_text(
    dsn: str, pool: PostgresPool
) -> None:
    plain = whole(2, tool_calls=())
    thought = whole(1, reasoning="first, a ...", tool_calls=(call("a"),))
    await _write(pool, *deliveries(PERSIST, thought, plain))
    first, second = rows(dsn, ANSWER)
    assert first[:2] == (
        "answer 1",
        {"content": "answer 1", "reasoning": "first, a ...", "tool_calls": [call("a")]},
    )
    assert second[:2] == ("answer 2", None)


async def test_the_detail_has_every_count_of_tokens_and_what_was_dropped(
    dsn: str, pool: PostgresPool
) -> None:
    counted = whole(
        1,
        input_tokens=40,
        output_tokens=9,
        cache_read_tokens=32,
        cache_write_tokens=4,
        reasoning_tokens=5,
        dropped=("top_k",),
    )
    await _write(pool, *deliveries(PERSIST, counted))
    ((*_, detail, status, reason, sequence),) = rows(dsn, ANSWER)
    assert (status, reason, sequence) == ("finished", "stop", 1)
    told = {name: value for name, value in detail.items() if name.endswith("_tokens")}
    assert told == {
        "input_tokens": 40,
        "output_tokens": 9,
        "cache_read_tokens": 32,
        "cache_write_tokens": 4,
        "reasoning_tokens": 5,
    }
    assert (detail["dropped"], detail["operation"]) == (["top_k"], "chat")


async def test_an_event_of_an_older_gateway_is_written_too(dsn: str, pool: PostgresPool) -> None:
    (event,) = deliveries(PERSIST, whole(1))
    names = ("cache_read.input_tokens", "cache_creation.input_tokens", "reasoning.output_tokens")
    later = ("reasoning", "dropped", *(f"gen_ai.usage.{name}" for name in names))
    await _write(pool, changed(event, schema="knowledge.chat/0", without=later))
    ((content, *_, detail, _, _, _),) = rows(dsn, ANSWER)
    assert content == "answer 1"
    assert detail["reasoning_tokens"] is None
    assert rows(dsn, "SELECT count(*) FROM chat_pairs") == [(1,)]


async def test_metadata_alone_becomes_rows_without_a_word(dsn: str, pool: PostgresPool) -> None:
    secret = whole(1, reasoning="hm", tool_calls=(call("a", arguments='{"q": "secret"}'),))
    await _write(pool, *deliveries(PERSIST, withheld(secret, "metadata")))
    assert rows(dsn, "SELECT prompt, response, input_tokens FROM chat_pairs") == [("", "", 12)]
    assert rows(dsn, "SELECT DISTINCT content FROM message_contents") == [("",)]
    history = rows(dsn, "SELECT seq, role FROM chat_history ORDER BY seq")
    assert history == [(0, "system"), (1, "user"), (2, "assistant")]
    ((_, message, detail, *_),) = rows(dsn, ANSWER)
    assert message["tool_calls"][0]["function"] == {"name": "look", "arguments": ""}
    assert detail["backend"] == "local"


async def test_contents_resent_by_an_agent_are_kept_once_and_not_counted(
    dsn: str, pool: PostgresPool
) -> None:
    writer = writer_for(PERSIST, pool)
    first = await writer.write(deliveries(PERSIST, whole(1)))
    second = await writer.write(deliveries(PERSIST, whole(1, trace_id="f" * 32), first=2))
    assert first.inserted == second.inserted == {"chat_history": 3, "chat_pairs": 1}
    assert rows(dsn, "SELECT count(*) FROM message_contents") == [(3,)]
