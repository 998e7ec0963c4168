"""How likely the tokens of an answer were.  Only there where the request asked for it, and only of
text.  Pure."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(slots=True)
class TokenLogprob:
    """A token, the natural logarithm of its probability, its UTF-8, which may be part of a
    character, and the likeliest tokens in its place, those without a `top` of their own."""

    token: str
    logprob: float
    utf8: bytes
    top: Sequence["TokenLogprob"] = ()


def within(tokens: Sequence[TokenLogprob], begin: int, count: int) -> Sequence[TokenLogprob]:
    """Those that begin in the `count` characters from `begin` on of the text they make."""
    found, at = [], 0
    for token in tokens:
        if begin <= at < begin + count:
            found.append(token)
        at += len(token.token)
    return found


def of_text(tokens: Sequence[TokenLogprob], text: str) -> Sequence[TokenLogprob]:
    """Those of `text`, where others are among them: of the reasoning before it, of the marks around
    it.  All of them where it cannot be found in what they make."""
    at = "".join(token.token for token in tokens).rfind(text)
    return within(tokens, at, len(text)) if at >= 0 else tokens
