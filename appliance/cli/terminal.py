"""Text for a terminal: no control characters, and lines no wider than they may be.  Pure.

Widths are columns: a Chinese character takes two, an accent none.
"""

import re
import unicodedata
from collections.abc import Iterator

WIDTH = 100
_WORDS = re.compile(r"\s+|\S+")


def plain(text: str) -> str:
    """What a terminal cannot take for a command: nothing that moves the cursor or turns the
    direction of what follows."""
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def columns(text: str) -> int:
    """How wide it is shown."""
    return len(text) if text.isascii() else sum(map(_columns, text))


def flat(text: str) -> str:
    """On one line, each run of white space one blank."""
    return plain(" ".join(text.split()))


def clipped(text: str, width: int) -> str:
    """Ended by `…` where it is longer than `width`."""
    if columns(text) <= width:
        return text
    kept, used = [], 1
    for character in text:
        used += _columns(character)
        if used > width:
            break
        kept.append(character)
    return "".join(kept) + "…"


def padded(text: str, width: int) -> str:
    """Clipped, then filled with blanks up to `width`."""
    shown = clipped(text, width)
    return shown + " " * (width - columns(shown))


def wrapped(text: str, width: int) -> Iterator[str]:
    """In lines of at most `width`, broken between words where that is possible; at least one."""
    line, used = "", 0
    for piece in _pieces(plain(text), width):
        wide = columns(piece)
        if used + wide > width:
            yield line.rstrip()
            line, used = "", 0
            piece = piece.lstrip()
            wide = columns(piece)
        line, used = line + piece, used + wide
    yield line.rstrip()


def _pieces(text: str, width: int) -> Iterator[str]:
    """Words and blanks; of a word wider than a line, as much as one takes."""
    for word in _WORDS.findall(text):
        piece, used = "", 0
        for character in word:
            wide = _columns(character)
            if used + wide > width:
                yield piece
                piece, used = "", 0
            piece, used = piece + character, used + wide
        yield piece


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
