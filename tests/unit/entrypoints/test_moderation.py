from typing import Any

import pytest

from appliance.config.schema import MediaConfig, ModerationConfig
from appliance.domain.chat.turn import Caller
from appliance.domain.errors import ConfigError, ModelNotFound
from appliance.domain.identity import Identity
from appliance.domain.moderation.ports import ModerationInput
from appliance.domain.moderation.service import ModerationRequest, ModerationService
from appliance.entrypoints.moderation import make_moderation
from appliance.infra.http.client import HttpClient
from appliance.infra.media.fetch import UrlFetcher
from tests.fakes.ledger import Sink, recorder

CALLER = Caller(Identity("t" * 32, "thread"), "openai_moderations")


def made(**fields: Any) -> ModerationService:
    http = HttpClient()
    fetcher = UrlFetcher(MediaConfig(), http)
    return make_moderation(ModerationConfig(**fields), http, fetcher, recorder(Sink()))


@pytest.mark.parametrize("url", ["http://me:secret@host", "http://h:x", "http://exämple.test"])
def test_a_url_that_cannot_be_asked_is_a_mistake_in_the_configuration(url: str) -> None:
    with pytest.raises(ConfigError, match=r"\[moderation\] url: "):
        made(url=url)


async def test_without_a_remote_one_only_the_lexicons_names_are_served() -> None:
    request = ModerationRequest("text-moderation-latest", (ModerationInput(("hi",)),))
    assert (await made().moderate(request, CALLER)).model == "lexicon-en-1"
    with pytest.raises(ModelNotFound, match="lexicon-en-1"):
        await made().moderate(ModerationRequest("llama-guard", request.inputs), CALLER)
