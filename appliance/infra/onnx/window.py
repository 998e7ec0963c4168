"""Which of the texts that wait run together, so that little of a batch is padding.  Pure; under
`batching.py`."""

from collections.abc import Sequence

# A batch costs 1.2 ms beside its tokens' 0.1 ms each: to run another is cheaper than more padding.
_PADDING_TOKENS = 16


def window(lengths: Sequence[int], first: int, max_tokens: int) -> tuple[int, int]:
    """The slice of ascending `lengths` around index `first` to run as one batch.

    Grows to the side that adds less padding, while the padded batch stays within `max_tokens` (a
    single text may be longer) and another text adds no more than _PADDING_TOKENS of padding.
    """
    low, high = first, first + 1
    while True:
        longest, count = lengths[high - 1], high - low
        below = longest - lengths[low - 1] if low else None
        above = count * (lengths[high] - longest) if high < len(lengths) else None
        if above is not None and (count + 1) * lengths[high] > max_tokens:
            above = None
        if below is not None and (count + 1) * longest > max_tokens:
            below = None
        cheapest = min((cost for cost in (below, above) if cost is not None), default=None)
        if cheapest is None or cheapest > _PADDING_TOKENS:
            return low, high
        if cheapest == above:
            high += 1
        else:
            low -= 1
