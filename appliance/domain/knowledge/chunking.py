"""Cut a text into pieces an embedding model can read.  First step of ingest; pure, deterministic.

A section (Markdown or reStructuredText heading) is cut into paragraphs, those that are too long
into lines, then sentences, then words, and only then anywhere.  Every piece but the first of a
section repeats the end of the one before, and every piece has the headings above it as context.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

Span = tuple[int, int]  # start and end in the text, end excluded

# Where a text may be cut, best first: after a blank line, a line, a sentence, a word.
_CUTS = (
    re.compile(r"\n(?:[^\S\n]*\n)+"),
    re.compile(r"\n"),
    re.compile(r"(?<=[.!?…])[\"')\]]{0,2}\s+|(?<=[。！？])"),
    re.compile(r"\s+"),
)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(\S.*?)(?:[ \t]+#+)?[ \t]*")
_UNDERLINE = re.compile(r"([=\-~^])\1{2,}[ \t]*")
_UNDERLINE_LEVELS = "=-~^"
_TITLE_CHARS = 120


@dataclass(frozen=True, slots=True)
class Chunk:
    """`text[start:end]` of the source, under `context`: the headings above it, outermost first."""

    start: int
    end: int
    context: str
    content: str  # the context, a blank line, and the text: what is embedded, stored and shown


@dataclass(frozen=True, slots=True)
class _Heading:
    start: int
    end: int  # of its line or lines
    level: int
    title: str


@dataclass(frozen=True, slots=True)
class _Section:
    """`above` are the headings around it, `path` those and the ones it begins with."""

    start: int
    end: int
    above: tuple[str, ...]
    path: tuple[str, ...]


def chunk(text: str, *, size: int, overlap: int, headings: bool = True) -> list[Chunk]:
    """Pieces of at most `size` characters, context included, in the order of the text.

    Together they hold every character of `text` that is not white space.  `overlap` characters at
    most, and never more than a third of `size`, are held twice.  Without `headings` the text is one
    section.
    """
    chunks: list[Chunk] = []
    held = 0  # up to where the chunks so far hold the text
    for section in _sections(text, _headings(text) if headings else ()):
        room = size - _context_size(section.path, size)
        spans = _spans(text, (section.start, section.end), room, min(overlap, size // 3, room // 2))
        for number, span in enumerate(spans):
            start, end = _trim(text, span)
            if text[max(start, held) : end].strip():
                held = end
                context = _context(section.path if number else section.above, size)
                content = f"{context}\n\n{text[start:end]}" if context else text[start:end]
                chunks.append(Chunk(start, end, context, content))
    return chunks


def _sections(text: str, headings: Iterable[_Heading]) -> Iterator[_Section]:
    """The text from heading to heading.  Headings with nothing between them begin one section."""
    open_at, path = 0, list[_Heading]()
    above: tuple[str, ...] = ()
    body = 0  # where the text after the last heading begins
    for heading in headings:
        if text[body : heading.start].strip():
            yield _Section(open_at, heading.start, above, tuple(h.title for h in path))
            open_at = heading.start
        while path and path[-1].level >= heading.level:
            path.pop()
        above = tuple(h.title for h in path if h.start < open_at)
        path.append(heading)
        body = heading.end
    yield _Section(open_at, len(text), above, tuple(h.title for h in path))


def _headings(text: str) -> Iterator[_Heading]:
    """ATX headings, and titles underlined with `=`, `-`, `~` or `^`; none inside fenced code."""
    fence = ""
    blank_before, previous = True, (0, 0)  # of the line before: whether a blank one precedes it
    for start, end in _lines(text):
        line = text[start:end].rstrip("\n")
        if fence:
            closing = line.strip()
            if closing.startswith(fence) and not closing.strip(fence[0]):
                fence = ""
        elif opened := _FENCE.match(line):
            fence = opened[1]
        elif atx := _ATX.fullmatch(line):
            yield _Heading(start, end, len(atx[1]), atx[2][:_TITLE_CHARS])
        elif (under := _UNDERLINE.fullmatch(line)) and blank_before:
            title = text[slice(*previous)].strip()
            if title and len(title) <= _TITLE_CHARS:
                level = _UNDERLINE_LEVELS.index(under[1]) + 1
                yield _Heading(previous[0], end, level, title)
        blank_before = not text[slice(*previous)].strip()
        previous = (start, end)


def _lines(text: str) -> Iterator[Span]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield start, end
        start = end


def _spans(text: str, span: Span, room: int, overlap: int) -> list[Span]:
    """`span` whole when it fits into `room`; else pieces that together cover it, with overlap."""
    if len(text[slice(*_trim(text, span))]) <= room:
        return [span]
    spans: list[Span] = []
    start = end = span[0]
    for piece_start, piece_end in _pieces(text, span, room - overlap, 0):
        if piece_end - start > room:
            spans.append((start, end))
            start = _overlap_start(text, start, piece_start, overlap)
        end = piece_end
    return [*spans, (start, end)]


def _pieces(text: str, span: Span, limit: int, level: int) -> Iterator[Span]:
    """Spans side by side that cover `span`, each of at most `limit` characters."""
    start, end = span
    if end - start <= limit:
        yield span
    elif level == len(_CUTS):
        for at in range(start, end, limit):
            yield at, min(at + limit, end)
    else:
        cuts = [found.end() for found in _CUTS[level].finditer(text, start, end)]
        for part in pairwise([start, *(cut for cut in cuts if start < cut < end), end]):
            yield from _pieces(text, part, limit, level + 1)


def _overlap_start(text: str, floor: int, at: int, overlap: int) -> int:
    """The earliest start of a sentence, else of a word, in the `overlap` characters before `at`."""
    earliest = max(floor + 1, at - overlap)
    for cut in _CUTS[1:]:
        if (found := cut.search(text, earliest, at)) and found.end() < at:
            return found.end()
    return at


def _trim(text: str, span: Span) -> Span:
    """`span` without the white space around it."""
    start, end = span
    while end > start and text[end - 1].isspace():
        end -= 1
    while start < end and text[start].isspace():
        start += 1
    return start, end


def _context(path: tuple[str, ...], size: int) -> str:
    """The headings as one line of at most a quarter of `size`; the outermost go first."""
    line = " > ".join(path)
    limit = size // 4
    return line if len(line) <= limit else f"…{line[len(line) - limit + 1 :]}"


def _context_size(path: tuple[str, ...], size: int) -> int:
    context = _context(path, size)
    return len(context) + 2 if context else 0
