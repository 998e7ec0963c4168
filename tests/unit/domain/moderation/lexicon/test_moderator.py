"""What the lexicon finds, and how often it is right on texts written for this."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from appliance.domain.errors import InvalidRequest, RequestTooLarge
from appliance.domain.identity import Identity
from appliance.domain.moderation.lexicon.moderator import MAX_CHARS, MODEL, TABLES, WITHIN, Lexicon
from appliance.domain.moderation.lexicon.words import CLEAR, FAINT, HINT, LIKELY
from appliance.domain.moderation.ports import CATEGORIES, ModerationInput, Verdict

WHO = Identity("trace", "thread")
LABELLED = Path(__file__).parents[4] / "golden" / "moderation"
LEXICON = Lexicon()


async def judged(*texts: str, images: tuple[str, ...] = ()) -> Verdict:
    one = ModerationInput(texts, images, parts=True)
    return (await LEXICON.score((one,), "", {}, WHO)).verdicts[0]


def labelled(name: str) -> list[dict[str, Any]]:
    lines = (LABELLED / f"{name}.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("row", labelled("examples"), ids=lambda row: row["text"])
async def test_an_example_is_flagged_as_it_must_be(row: dict[str, Any]) -> None:
    verdict = await judged(row["text"])
    assert {name for name, flag in verdict.categories.items() if flag} >= set(row["categories"])
    assert verdict.flagged == bool(row["categories"])


async def test_on_texts_it_was_not_made_with_it_is_right_as_often_as_we_say() -> None:
    """README says: of what it flags, nearly all rightly; of what it should, about two thirds."""
    outcomes = [
        ((await judged(row["text"])).flagged, bool(row["categories"]))
        for row in labelled("held_out")
    ]
    hits = outcomes.count((True, True))
    assert hits / (hits + outcomes.count((True, False))) >= 0.95
    assert hits / (hits + outcomes.count((False, True))) >= 0.6


async def test_every_category_is_scored_of_text_alone() -> None:
    verdict = await judged("Good morning.", images=("https://example.test/a.png",))
    assert verdict.scores == dict.fromkeys(CATEGORIES, 0.0)
    assert verdict.categories == dict.fromkeys(CATEGORIES, False)
    assert verdict.applied == dict.fromkeys(CATEGORIES, ("text",))
    assert not verdict.flagged


async def test_weights_add_up_as_chances_do() -> None:
    assert (await judged("orgasm")).scores["sexual"] == HINT
    two = await judged("orgasm naked")
    assert two.scores["sexual"] == pytest.approx(1 - (1 - HINT) ** 2)
    assert two.flagged
    assert (await judged("orgasm orgasm")).scores["sexual"] == HINT


async def test_a_negation_a_quotation_and_a_story_take_weight_away() -> None:
    plain, negated, quoted, framed = [
        (await judged(text)).scores["violence"]
        for text in (
            "stab someone",
            "never stab someone",
            'a sign: "stab someone"',
            "stab someone in the novel",
        )
    ]
    assert plain == LIKELY
    assert negated == pytest.approx(0.3 * LIKELY)
    assert quoted == pytest.approx(0.6 * LIKELY)
    assert framed == pytest.approx(0.5 * LIKELY)


async def test_a_negation_ends_at_a_comma() -> None:
    assert (await judged("no, stab someone")).scores["violence"] == LIKELY


async def test_no_story_makes_what_concerns_minors_less_so() -> None:
    assert (await judged("write a story with sex and a child")).categories["sexual/minors"]


async def test_a_category_is_at_least_what_is_within_it() -> None:
    for row in labelled("examples"):
        scores = (await judged(row["text"])).scores
        for inner, outer in WITHIN.items():
            assert (scores[outer] or 0) >= (scores[inner] or 0)


async def test_texts_of_one_input_are_judged_together() -> None:
    assert (await judged("orgasm", "naked")).flagged


async def test_an_input_of_images_alone_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="sees no images") as refused:
        await judged(images=("https://example.test/a.png",))
    assert (refused.value.param, refused.value.code) == ("input", "image_not_supported")


async def test_too_much_text_is_refused() -> None:
    half = "a" * (MAX_CHARS // 2 + 1)
    with pytest.raises(RequestTooLarge):
        await judged(half, half)


@pytest.mark.parametrize("unread", ["stab someone. ", "?!", "кошка ", "\u200b"])
async def test_others_get_their_turn_while_a_long_text_is_read(unread: str) -> None:
    task = asyncio.ensure_future(judged(unread * (20_000 // len(unread))))
    turns = 0
    while not task.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns >= 5


async def test_it_answers_by_its_own_name_to_those_clients_send() -> None:
    made = await LEXICON.score((ModerationInput(("hi",)),), "omni-moderation-latest", {}, WHO)
    assert (made.model, made.backend, made.id) == (MODEL, MODEL, "")
    named = ("", MODEL, "omni-moderation-latest", "omni-moderation-2024-09-26")
    assert all(map(LEXICON.serves, (*named, "text-moderation-stable")))
    assert not any(map(LEXICON.serves, ("gpt-4o", "lexicon-en-2", "auto")))


def test_every_row_of_every_table_has_a_known_category_and_weight() -> None:
    rows = [(name, row) for table in TABLES for name, rows in table.items() for row in rows]
    assert {name for name, _ in rows} == set(CATEGORIES)
    assert {weight for _, (weight, _) in rows} == {CLEAR, LIKELY, HINT, FAINT}
    assert len({(name, text) for name, (_, text) in rows}) == len(rows)
