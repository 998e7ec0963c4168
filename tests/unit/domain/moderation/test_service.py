from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from appliance.domain.access.keys import Key
from appliance.domain.chat.turn import Caller
from appliance.domain.conversation.request import Extensions
from appliance.domain.errors import BackendRefused, ModelNotFound
from appliance.domain.events.exchange import Moderation
from appliance.domain.identity import Identity
from appliance.domain.moderation.ports import Moderated, ModerationInput, Verdict
from appliance.domain.moderation.service import ModerationRequest, ModerationService
from tests.fakes.ledger import Sink, recorder

CALLER = Caller(Identity("t" * 32, "thread"), "openai_moderations", Key("laptop", "", ()))
BAD, GOOD = ModerationInput(("bad",)), ModerationInput(("good",))


class Moderators:
    """One that flags `bad`, serves names that begin with its own, and fails as told."""

    def __init__(self, name: str = "m", error: Exception | None = None) -> None:
        self.name = name
        self.error = error
        self.asked: list[tuple[str, Mapping[str, Any]]] = []

    def serves(self, model: str) -> bool:
        return model.startswith(self.name)

    async def score(
        self,
        inputs: Sequence[ModerationInput],
        model: str,
        fields: Mapping[str, Any],
        identity: Identity,
    ) -> Moderated:
        self.asked.append((model, fields))
        if self.error:
            raise self.error
        verdicts = tuple(Verdict(each == BAD, {}, {}, {}) for each in inputs)
        return Moderated(f"{self.name}-1", verdicts, self.name, "wire")


def served(*moderators: Moderators) -> tuple[ModerationService, Sink]:
    sink = Sink()
    return ModerationService(moderators, recorder(sink)), sink


def request(model: str = "m", *inputs: ModerationInput, **fields: Any) -> ModerationRequest:
    return ModerationRequest(model, inputs or (BAD, GOOD), **fields)


async def test_the_first_that_serves_the_model_is_asked_with_all_that_was_said() -> None:
    first, second = Moderators("m"), Moderators("n")
    service, _ = served(first, second)
    made = await service.moderate(request("n", params={"user": "ann"}), CALLER)
    assert made.model == "n-1"
    assert (first.asked, second.asked) == ([], [("n", {"user": "ann"})])


async def test_a_call_is_recorded_without_what_it_said() -> None:
    service, sink = served(Moderators())
    own = Extensions(project="p", conversation="talk")
    await service.moderate(request("m", extensions=own), CALLER)
    (kept,) = sink.seen
    assert (kept.status, kept.http_status, kept.operation) == ("finished", 200, "moderation")
    assert (kept.surface, kept.route) == ("openai_moderations", "moderation")
    assert (kept.correlation_id, kept.conversation_id) == ("thread", "talk")
    assert (kept.project, kept.key_name, kept.provider) == ("p", "laptop", "wire")
    assert (kept.request_model, kept.selected_model, kept.response_model) == ("m", "m-1", "m-1")
    assert kept.moderation == Moderation("m-1", inputs=2, flagged=1, duration_s=1.0)
    assert (kept.occurred_at, kept.duration_s) == (1_795_000_000.5, 1.0)
    assert "bad" not in repr(kept)


async def test_a_model_nobody_serves_is_recorded_and_refused() -> None:
    service, sink = served(Moderators())
    with pytest.raises(ModelNotFound) as refused:
        await service.moderate(request("else"), CALLER)
    assert (refused.value.param, refused.value.code) == ("model", "model_not_found")
    assert (sink.seen[0].status, sink.seen[0].http_status) == ("failed", 418)
    assert sink.seen[0].moderation is not None
    assert (sink.seen[0].moderation.model, sink.seen[0].error_type) == ("else", "ModelNotFound")


async def test_a_failure_is_recorded_and_raised() -> None:
    error = BackendRefused("slow down", backend="moderation", status=429)
    service, sink = served(Moderators(error=error))
    with pytest.raises(BackendRefused):
        await service.moderate(request(), CALLER)
    (kept,) = sink.seen
    assert (kept.status, kept.error_type, kept.error_message) == (
        "failed",
        "BackendRefused",
        "slow down",
    )
    assert (kept.backend, kept.response_model) == ("moderation", "")
