"""A moderator that is a server of OpenAI's wire (`[moderation] url`).  Called by the service of
domain/moderation/; what the server says beyond verdicts is handed on as it is.
"""

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from appliance.config.schema import BackendConfig, ModerationConfig
from appliance.domain.chat.media import shown
from appliance.domain.chat.ports import MediaFetcher
from appliance.domain.conversation.encoded import is_data_url
from appliance.domain.errors import (
    BackendTimeout,
    BackendUnavailable,
    InvalidRequest,
    PartUnavailable,
)
from appliance.domain.identity import Identity
from appliance.domain.moderation.lexicon.moderator import MODEL as LOCAL_MODEL
from appliance.domain.moderation.ports import Moderated, ModerationInput, Verdict
from appliance.infra.dialects.upstream import Upstream, bearer
from appliance.infra.http.client import HttpClient
from appliance.infra.http.target import Target

PART = "moderation"
PROVIDER = "openai_moderations"
_MAX_CONNECT_S = 5.0
_PATH = "/v1/moderations"


class _Result(msgspec.Struct):
    """One row of the answer; older servers score fewer categories, or give null for some."""

    flagged: bool
    categories: dict[str, bool | None]
    category_scores: dict[str, float | None]
    category_applied_input_types: dict[str, tuple[str, ...]] | None = None


class RemoteModerator:
    """Stores its configuration; the first request connects.  Each answer, images fetched before
    it included, comes within twice `timeout_s` or not at all."""

    name = PART

    def __init__(self, config: ModerationConfig, http: HttpClient, fetcher: MediaFetcher) -> None:
        self._model = config.model
        self._timeout_s = config.timeout_s
        self._fetcher = fetcher
        backend = BackendConfig(
            name=PART,
            kind="openai",
            base_url=config.url,
            connect_timeout_s=min(config.timeout_s, _MAX_CONNECT_S),
            read_timeout_s=config.timeout_s,
        )
        self._upstream = Upstream(backend, http, bearer(config.api_key))
        base = config.url.rstrip("/").removesuffix("/v1")
        self._target = Target.parse(base + _PATH)

    def serves(self, model: str) -> bool:
        """See Moderator.serves: every name but that of the lexicon, which is here."""
        return model != LOCAL_MODEL

    async def score(
        self,
        inputs: Sequence[ModerationInput],
        model: str,
        fields: Mapping[str, Any],
        identity: Identity,
    ) -> Moderated:
        """See Moderator.score.  No URL is passed on: images are fetched here and sent inline."""
        body = {**fields, "input": await self._input(inputs)}
        if asked := self._model or model:
            body["model"] = asked
        with self._reached():
            async with asyncio.timeout(self._timeout_s):
                answer = await self._upstream.ask(self._target, body, identity)
        return self._moderated(answer, asked, len(inputs))

    async def _input(self, inputs: Sequence[ModerationInput]) -> list[Any]:
        if not inputs[0].parts:
            return [each.texts[0] for each in inputs]
        texts = [{"type": "text", "text": text} for text in inputs[0].texts]
        urls = await self._inlined(inputs[0].images)
        return [*texts, *({"type": "image_url", "image_url": {"url": url}} for url in urls)]

    async def _inlined(self, urls: Sequence[str]) -> list[str]:
        try:
            async with asyncio.timeout(self._timeout_s), asyncio.TaskGroup() as tasks:
                started = [tasks.create_task(self._data_url(url)) for url in urls]
        except TimeoutError:
            raise InvalidRequest(
                f"The images did not arrive within {self._timeout_s:g} s.", param="input"
            ) from None
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None
        return [task.result() for task in started]

    async def _data_url(self, url: str) -> str:
        if is_data_url(url):
            return url
        media = await self._fetcher.fetch(url)
        if not media.media_type.startswith("image/"):
            raise InvalidRequest(
                f"{shown(url)} is {media.media_type}, not an image.", param="input"
            )
        return f"data:{media.media_type};base64,{media.data}"

    def _moderated(self, answer: dict[str, Any], asked: str, count: int) -> Moderated:
        rows = answer.pop("results", None)
        if not isinstance(rows, list) or len(rows) != count:
            raise self._upstream.broken("did not answer with a result for each input")
        model, identifier = answer.pop("model", None), answer.pop("id", None)
        return Moderated(
            model=model if isinstance(model, str) and model else asked,
            verdicts=tuple(self._verdict(row) for row in rows),
            backend=PART,
            provider=PROVIDER,
            id=identifier if isinstance(identifier, str) else "",
            more=answer,
        )

    def _verdict(self, row: Any) -> Verdict:
        try:
            result = msgspec.convert(row, _Result)
        except msgspec.ValidationError as exc:
            raise self._upstream.broken(f"answered with what is no result: {exc}") from exc
        more = {key: value for key, value in row.items() if key not in _Result.__struct_fields__}
        applied = result.category_applied_input_types or {}
        return Verdict(result.flagged, result.categories, result.category_scores, applied, more)

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Who cannot be reached is a part that is down; what it answers is a backend's answer."""
        try:
            yield
        except TimeoutError:
            raise PartUnavailable(
                f"the moderation server did not answer within {self._timeout_s:g} s", part=PART
            ) from None
        except (BackendUnavailable, BackendTimeout) as exc:
            raise PartUnavailable(
                f"the moderation server cannot be reached: {exc}", part=PART
            ) from exc
