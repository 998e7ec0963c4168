"""`[privacy] store`: what of an exchange leaves the process that served it.  Applied before the
spool; pure.

full      everything
metadata  ids, names, counts, durations, scores; nothing a person, a model or a tool wrote
none      as metadata, and no `pipeline.*` event: measures alone, no row anywhere
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from appliance.domain.events.exchange import Exchange, Rerank, Retrieval, Store
from appliance.domain.events.ports import ExchangeSink

# Numbers and switches that say how an answer was made; any other name may be a client's own words.
_PARAMS = frozenset({
    "temperature", "top_p", "top_k", "min_p", "typical_p", "max_tokens", "max_completion_tokens",
    "max_output_tokens", "seed", "n", "presence_penalty", "frequency_penalty", "repeat_penalty",
    "repetition_penalty", "logprobs", "top_logprobs", "parallel_tool_calls", "dimensions",
})  # fmt: skip


class Withholding:
    """An ExchangeSink in front of another: it hands on what may be kept under `store`."""

    def __init__(self, sink: ExchangeSink, store: Store) -> None:
        self._sink = sink
        self._store: Store = store

    def keep(self, exchange: Exchange) -> bool:
        """See ExchangeSink.keep."""
        return self._sink.keep(withheld(exchange, self._store))


def withheld(exchange: Exchange, store: Store) -> Exchange:
    """`exchange` as it may be kept under `store`; the same object for `full`."""
    if store == "full":
        return exchange
    embedding, feedback = exchange.embedding, exchange.feedback
    return replace(
        exchange,
        store=store,
        messages=tuple({"role": m.get("role", ""), "content": ""} for m in exchange.messages),
        params={k: v for k, v in exchange.params.items() if k in _PARAMS and _is_number(v)},
        dropped=(),
        answer="",
        reasoning="",
        tool_calls=tuple(_call(call) for call in exchange.tool_calls),
        tool_results=tuple(
            replace(returned, arguments="", content="") for returned in exchange.tool_results
        ),
        retrieval=_retrieval(exchange.retrieval) if exchange.retrieval is not None else None,
        embedding=replace(embedding, texts=_blank(embedding.texts)) if embedding else None,
        feedback=replace(feedback, comment="") if feedback else None,
        rerank=_rerank(exchange.rerank) if exchange.rerank is not None else None,
        error_message="",  # backends quote prompts in theirs
    )


def _is_number(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _call(call: Mapping[str, Any]) -> dict[str, Any]:
    return {**call, "function": {"name": call["function"]["name"], "arguments": ""}}


def _retrieval(retrieval: Retrieval) -> Retrieval:
    made = retrieval.embedding
    return replace(
        retrieval,
        query="",
        hits=tuple(replace(hit, document="") for hit in retrieval.hits),
        cut=tuple(replace(cut, document="") for cut in retrieval.cut),
        embedding=replace(made, texts=_blank(made.texts)) if made is not None else None,
    )


def _rerank(rerank: Rerank) -> Rerank:
    """Scores by place alone: who holds a short text finds it by its digest."""
    scores = tuple(replace(scored, digest="", name="") for scored in rerank.scores)
    return replace(rerank, query="", scores=scores)


def _blank(texts: tuple[str, ...]) -> tuple[str, ...]:
    return ("",) * len(texts)
