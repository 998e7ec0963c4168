"""BM25 over the texts of one call: how well their words match those of the query.  Pure.

A text is read as its runs of letters and digits, case folded; a run of Chinese, Japanese, Korean
or Thai letters, which has no spaces between its words, as its overlapping pairs of letters.
Nothing is stemmed and no word is left out.  Used by `fusion.py`'s caller in the inference role.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

# Robertson's usual values: how soon more of a word stops counting, and what length costs.
_K1, _B = 1.2, 0.75
# One expression over a longer text would keep every other thread waiting.
MAX_CHARS = 50_000
_UNSPACED = (
    "\u0e00-\u0e7f"  # Thai
    "\u3040-\u30ff"  # Hiragana, Katakana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"  # Han
    "\uac00-\ud7af"  # Hangul
)
_RUNS = re.compile(rf"[{_UNSPACED}]+|[^\W_{_UNSPACED}]+")
_IS_UNSPACED = re.compile(rf"[{_UNSPACED}]")


def words(text: str) -> list[str]:
    """The words of the first MAX_CHARS characters, in their order."""
    found: list[str] = []
    for run in _RUNS.findall(text[:MAX_CHARS].casefold()):
        if len(run) > 1 and _IS_UNSPACED.match(run):
            found += [run[at : at + 2] for at in range(len(run) - 1)]
        else:
            found.append(run)
    return found


def bm25(query: str, texts: Sequence[str]) -> list[float]:
    """A score a text, in order, 0 or more; `texts` themselves are the collection that says how rare
    a word is.

    Source: Robertson and Zaragoza, The Probabilistic Relevance Framework (2009); the weight of a
    word is ln(1 + (N - n + 0.5) / (n + 0.5)), which is never negative.
    """
    asked = Counter(words(query))
    counts: list[dict[str, int]] = []
    lengths: list[int] = []
    for text in texts:
        read = words(text)
        lengths.append(len(read))
        counts.append(Counter(word for word in read if word in asked))
    average = sum(lengths) / len(lengths) if lengths and sum(lengths) else 1.0
    having = Counter(word for counted in counts for word in counted)
    weights = {
        word: times * math.log(1 + (len(texts) - having[word] + 0.5) / (having[word] + 0.5))
        for word, times in asked.items()
    }
    return [
        sum(
            weights[word] * many * (_K1 + 1) / (many + _K1 * (1 - _B + _B * length / average))
            for word, many in counted.items()
        )
        for counted, length in zip(counts, lengths, strict=True)
    ]
