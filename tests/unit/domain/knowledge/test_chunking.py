from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from appliance.domain.knowledge.chunking import Chunk, chunk

_PIECES = st.sampled_from(
    ["# Title\n", "## Part two ##\n", "Name\n====\n", "```\n# not a heading\n```\n", "\n\n",
     "\n", " ", "word ", "A sentence. ", "Was it? ", "日本語の文。", "x" * 150, "    indented\n",
     "---\n", "\t", "é"]
)  # fmt: skip
_TEXTS = st.one_of(st.text(max_size=600), st.lists(_PIECES, max_size=80).map("".join))
_SIZES = st.integers(min_value=100, max_value=400)
_OVERLAPS = st.integers(min_value=0, max_value=500)


@settings(max_examples=150, deadline=None)
@given(text=_TEXTS, size=_SIZES, overlap=_OVERLAPS)
def test_no_text_is_lost_and_bounds_are_respected(text: str, size: int, overlap: int) -> None:
    chunks = chunk(text, size=size, overlap=overlap)
    assert all(0 < len(piece.content) <= size for piece in chunks)
    assert all(piece.content.endswith(text[piece.start : piece.end]) for piece in chunks)
    held = {at for piece in chunks for at in range(piece.start, piece.end)}
    assert [at for at, char in enumerate(text) if not char.isspace() and at not in held] == []


@settings(max_examples=80, deadline=None)
@given(text=_TEXTS, size=_SIZES, overlap=_OVERLAPS)
def test_chunks_go_forward_and_repeat_no_more_than_the_overlap(
    text: str, size: int, overlap: int
) -> None:
    chunks = chunk(text, size=size, overlap=overlap)
    for before, after in pairwise(chunks):
        assert before.start < after.start
        assert before.end < after.end
        assert before.end - after.start <= min(overlap, size // 3)
    assert chunks == chunk(text, size=size, overlap=overlap)


def test_a_short_text_is_one_chunk_as_it_is() -> None:
    assert chunk("Just a line.\n", size=900, overlap=120) == [Chunk(0, 12, "", "Just a line.")]


def test_white_space_alone_gives_nothing() -> None:
    assert chunk(" \n\t\n" * 300, size=100, overlap=20) == []


def test_a_section_carries_the_headings_above_it() -> None:
    text = "# Guide\n\nHello.\n\n## Install\n\nRun it.\n\n### Linux\n\nUse apt.\n\n## Use\n\nAsk.\n"
    assert [(c.context, c.content.split("\n\n")[-1]) for c in chunk(text, size=900, overlap=0)] == [
        ("", "Hello."),
        ("Guide", "Run it."),
        ("Guide > Install", "Use apt."),
        ("Guide", "Ask."),
    ]


def test_the_rest_of_a_long_section_names_its_own_heading_too() -> None:
    text = "# Guide\n\n## Install\n\n" + "One step follows another. " * 40
    chunks = chunk(text, size=300, overlap=0)
    assert chunks[0].content.startswith("# Guide\n\n## Install")
    assert {piece.context for piece in chunks[1:]} == {"Guide > Install"}


def test_a_hash_inside_fenced_code_is_no_heading() -> None:
    text = "# Real\n\ntext\n\n```sh\n# comment\necho\n```\n\nafter\n"
    assert [c.context for c in chunk(text, size=900, overlap=0)] == [""]


def test_underlined_titles_are_headings() -> None:
    text = "Guide\n=====\n\nHello.\n\nInstall\n-------\n\nRun it.\n"
    assert [c.context for c in chunk(text, size=900, overlap=0)] == ["", "Guide"]


def test_paragraphs_are_kept_whole_when_they_fit() -> None:
    paragraphs = [f"Paragraph {n} says {'something ' * 12}and ends." for n in range(6)]
    chunks = chunk("\n\n".join(paragraphs), size=400, overlap=0)
    assert [p for c in chunks for p in c.content.split("\n\n")] == paragraphs
    assert len(chunks) == 3


def test_a_repeated_end_begins_with_a_sentence() -> None:
    text = " ".join(f"Sentence number {n} is here." for n in range(40))
    chunks = chunk(text, size=200, overlap=60)
    assert all(c.content.startswith("Sentence") for c in chunks)
    assert chunks[1].start < chunks[0].end


def test_a_text_without_any_break_is_cut_anywhere() -> None:
    chunks = chunk("x" * 1000, size=100, overlap=0)
    assert [len(c.content) for c in chunks] == [100] * 10


def test_comments_of_a_program_are_no_headings() -> None:
    text = "# first\n\ncode\n\n# second\n\nmore\n"
    assert [c.content for c in chunk(text, size=900, overlap=0, headings=False)] == [text.strip()]
