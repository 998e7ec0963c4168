import json

from openai.types import ModerationCreateResponse

from appliance.domain.moderation.lexicon.moderator import verdict
from appliance.domain.moderation.ports import CATEGORIES, Moderated, Verdict
from appliance.presentation.openai_moderations import encode

CLEAN = verdict(dict.fromkeys(CATEGORIES, 0.0))
BAD = verdict({**dict.fromkeys(CATEGORIES, 0.0), "self-harm/intent": 0.9})


def test_openais_own_types_take_it() -> None:
    body = encode(Moderated("lexicon-en-1", (CLEAN, BAD), "lexicon-en-1", "lexicon"), "abc")
    parsed = ModerationCreateResponse.model_validate_json(body, strict=True)
    assert (parsed.id, parsed.model) == ("modr-abc", "lexicon-en-1")
    assert [result.flagged for result in parsed.results] == [False, True]
    assert parsed.results[1].categories.self_harm_intent
    assert parsed.results[1].category_scores.self_harm_intent == 0.9
    assert parsed.results[0].category_applied_input_types.sexual_minors == ["text"]
    assert set(json.loads(body)["results"][0]["categories"]) == set(CATEGORIES)


def test_what_a_server_said_beyond_verdicts_goes_along_and_what_it_did_not_say_is_not_made_up() -> (
    None
):
    said = Verdict(True, {"spam": True, "illicit": None}, {"spam": 0.7}, {}, {"reason": "links"})
    body = encode(Moderated("m", (said,), "moderation", "w", "modr-1", {"usage": {"n": 1}}), "abc")
    assert json.loads(body) == {
        "id": "modr-1",
        "model": "m",
        "usage": {"n": 1},
        "results": [
            {
                "flagged": True,
                "categories": {"spam": True, "illicit": None},
                "category_scores": {"spam": 0.7},
                "reason": "links",
            }
        ],
    }
