from dataclasses import replace

import msgspec
import pytest

from appliance.domain.events.exchange import (
    Embedding,
    Exchange,
    Feedback,
    Hit,
    Rerank,
    Returned,
    Scored,
)
from appliance.domain.events.privacy import Withholding, withheld
from appliance.domain.events.topics import KEPT, events_of
from tests.unit.domain.events.test_topics import LOOKED_UP, whole

CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "SECRET"}}


def secret() -> Exchange:
    """SECRET wherever a person, a model, a tool or a backend wrote something."""
    said = Embedding("query", "all-minilm-l6-v2", ("SECRET",), 256, 3)
    return whole(
        messages=({"role": "user", "content": [{"type": "text", "text": "SECRET"}]},),
        dropped=("SECRET",),
        params={
            "SECRET": 1,
            "top_p": "SECRET",
            "temperature": 0.5,
            "seed": 7,
            "stop": ["SECRET"],
            "tools": [{"x": "SECRET"}],
        },
        answer="SECRET",
        reasoning="SECRET",
        tool_calls=(CALL,),
        tool_results=(Returned("0", "f", "SECRET", "SECRET"),),
        error_message="the prompt SECRET is too long",
        embedding=Embedding("request", "m", ("SECRET", "SECRET")),
        retrieval=replace(
            LOOKED_UP,
            query="SECRET",
            hits=(Hit("SECRET.md", 0, 0.5, 9),),
            cut=tuple(replace(cut, document="SECRET.md") for cut in LOOKED_UP.cut),
            embedding=said,
        ),
        feedback=Feedback("f" * 32, -5, "SECRET"),
        rerank=Rerank("m", "SECRET", 1, None, (Scored(0, 0.5, "SECRET", "SECRET.md"),)),
    )


def test_full_is_the_exchange_itself() -> None:
    made = secret()
    assert withheld(made, "full") is made


@pytest.mark.parametrize("store", ["metadata", "none"])
def test_nothing_anybody_wrote_leaves(store: str) -> None:
    kept = withheld(secret(), store)  # type: ignore[arg-type]
    assert b"SECRET" not in msgspec.json.encode(kept)


def test_metadata_keeps_counts_names_and_numbers() -> None:
    made, kept = secret(), withheld(secret(), "metadata")
    assert kept.messages == ({"role": "user", "content": ""},)
    assert kept.params == {"temperature": 0.5, "seed": 7}
    assert [call["function"]["name"] for call in kept.tool_calls] == ["f"]
    assert kept.input_tokens == made.input_tokens
    assert kept.retrieval is not None
    assert [hit.score for hit in kept.retrieval.hits] == [0.5]
    assert kept.embedding is not None
    assert len(kept.embedding.texts) == 2
    assert kept.feedback == Feedback("f" * 32, -5)
    assert [e.subject for e in events_of(kept)] == [e.subject for e in events_of(made)]


def test_none_leaves_measures_alone() -> None:
    subjects = [event.subject for event in events_of(withheld(secret(), "none"))]
    assert subjects
    assert not [subject for subject in subjects if subject.startswith(KEPT)]


def test_the_sink_behind_never_sees_what_is_withheld() -> None:
    class Kept:
        def __init__(self) -> None:
            self.seen: list[Exchange] = []

        def keep(self, exchange: Exchange) -> bool:
            self.seen.append(exchange)
            return False

    behind = Kept()
    assert Withholding(behind, "metadata").keep(secret()) is False
    assert behind.seen == [withheld(secret(), "metadata")]


def test_metadata_of_a_rerank_are_scores_by_place() -> None:
    kept = withheld(secret(), "metadata").rerank
    assert kept == Rerank("m", "", 1, None, (Scored(0, 0.5),))
