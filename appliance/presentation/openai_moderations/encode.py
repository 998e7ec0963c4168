"""From verdicts to OpenAI's moderation object; pure."""

from typing import Any

import msgspec

from appliance.domain.moderation.ports import Moderated, Verdict


def encode(moderated: Moderated, trace_id: str) -> bytes:
    """One result an input, in order; what a remote moderator said beyond that goes along."""
    return msgspec.json.encode(
        {
            **moderated.more,
            "id": moderated.id or f"modr-{trace_id}",
            "model": moderated.model,
            "results": [_result(verdict) for verdict in moderated.verdicts],
        }
    )


def _result(verdict: Verdict) -> dict[str, Any]:
    result = {
        **verdict.more,
        "flagged": verdict.flagged,
        "categories": verdict.categories,
        "category_scores": verdict.scores,
    }
    if verdict.applied:
        result["category_applied_input_types"] = verdict.applied
    return result
