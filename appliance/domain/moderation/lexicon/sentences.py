"""A text as sentences of plain words.  Pure; called by moderator.py.

Undoes what is cheap to undo of disguise: width and accents, look-alike letters, digits and signs
within a word (k1ll), letters drawn out (kiiill) or set apart (k.i.l.l).
"""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

# Signs nobody sees, and two that are a phrase of Arabic each: 18 and 8 letters once written out.
_UNREAD = re.compile("[\u00ad\u200b-\u200f\u2060\ufe0f\ufeff\ufdfa\ufdfb]")
# Cyrillic and Greek letters that look Latin; one sort of each mark.
_LOOK_ALIKES = str.maketrans("авеікмнорстухѕјαιορ’‘`“”«»", 'abeikmhopctyxsjaiop\'\'\'""""')
_LEET = str.maketrans("013457@$!|", "oieastasil")
_WITHIN = re.compile(r"(?<=[a-z])[013457@$!|]{1,2}(?=[a-z])")
_DRAWN_OUT = re.compile(r"([a-z])\1{2,}")
_SET_APART = re.compile(r"(?<![a-z])[a-z](?:([.\-_* ])[a-z](?![a-z])(?:\1[a-z](?![a-z])){2,})")
_NOT = re.compile(r"n't\b|(?<=\bdo|\bca|\bwo|\bis)nt\b|(?<=\bdid|\bare)nt\b|(?<=\bdoes)nt\b")
_SHORT = re.compile(r"'(m|ll|re|ve|d|s)\b")
_LONG = {"m": " am", "ll": " will", "re": " are", "ve": " have", "d": " would", "s": ""}
_IM = re.compile(r"\bim\b")
_PIECES = re.compile(r"([a-z]+|[0-9]+)|([,:;()]|--)|([.?!\n]+)|(\")")
_PORTION_CHARS = 2000  # a millisecond's worth
_MOST_WORDS = 400  # of one sentence; lists and code have no end of one


@dataclass(frozen=True, slots=True)
class Sentence:
    """Its words in lower case, a "," wherever it pauses; `quoted` tells of each whether it stands
    within quotation marks."""

    words: list[str]
    quoted: list[bool]


def sentences(text: str) -> Iterator[Sentence]:
    """The sentences of `text` that have a word in them, in order."""
    words: list[str] = []
    quoted: list[bool] = []
    within = False
    for found in _PIECES.finditer(_plain(text)):
        word, pause, stop, _ = found.groups()
        if word or pause:
            words.append(word or ",")
            quoted.append(within)
        elif not stop:
            within = not within
        if (stop or len(words) >= _MOST_WORDS) and words:
            yield Sentence(words, quoted)
            words, quoted = [], []
        if stop and "\n" in stop:
            within = False  # a mark that nobody closed ends with its paragraph
    if words:
        yield Sentence(words, quoted)


def portions(text: str) -> Iterator[str]:
    """`text` in pieces that end where a sentence does, or else a word: read one at a time, so that
    others get a turn between them."""
    begin = 0
    while begin < len(text):
        end = begin + _PORTION_CHARS
        if end < len(text):
            at = max(text.rfind(mark, begin, end) for mark in ".?!\n")
            at = at if at > begin else text.rfind(" ", begin, end)
            end = at + 1 if at > begin else end
        yield text[begin:end]
        begin = end


def _plain(text: str) -> str:
    text = text.casefold()
    if not text.isascii():
        decomposed = unicodedata.normalize("NFKD", _UNREAD.sub("", text))
        kept = (char for char in decomposed if not unicodedata.combining(char))
        text = "".join(kept).casefold().translate(_LOOK_ALIKES)
    text = _WITHIN.sub(lambda found: found[0].translate(_LEET), text)
    text = _SET_APART.sub(lambda found: found[0].replace(found[1], ""), text)
    text = _DRAWN_OUT.sub(r"\1", text)
    text = _SHORT.sub(lambda found: _LONG[found[1]], _NOT.sub(" not", text))
    return _IM.sub("i am", text)
