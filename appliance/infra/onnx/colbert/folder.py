"""Read the folder of a ColBERT model: graph, tokenizer and settings, or what is wrong with them.

    model.onnx        input_ids, attention_mask (and token_type_ids) [texts, tokens] -> float32
                      [texts, tokens, dimensions], the linear layer included
    tokenizer.json    as `tokenizers` reads it, [MASK] and both markers in its vocabulary
    settings          the first of SETTINGS that is there

Each problem is one sentence.  Nothing is run here: see `encoder.py`.
"""

import re
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta
from tokenizers import Tokenizer

from appliance.domain.errors import ConfigError
from appliance.infra.onnx.encoder import ModelUnusable, read_tokenizer

GRAPH, TOKENIZER = "model.onnx", "tokenizer.json"
_MASKS = ("[MASK]", "<mask>", "<|mask|>")
_PADS = ("[PAD]", "<pad>", "<|pad|>", "<|padding|>")
_Length = Annotated[int, Meta(ge=4, le=8192)]
_ODD = re.compile(r"[^A-Za-z0-9._-]+")
_NAME_CHARS = 128


class _PyLate(msgspec.Struct):
    """What PyLate and its exporters write; other fields are of no interest."""

    query_length: _Length
    document_length: _Length
    query_prefix: str | None = None
    document_prefix: str | None = None
    query_prefix_id: int | None = None
    document_prefix_id: int | None = None
    do_query_expansion: bool | None = None
    attend_to_expansion_tokens: bool | None = None
    skiplist_words: list[str] | None = None
    embedding_dim: int | None = None
    mask_token_id: int | None = None
    pad_token_id: int | None = None
    do_lower_case: bool = False
    model_name: str | None = None


class _Stanford(msgspec.Struct):
    """What colbert-ir's training writes beside a checkpoint."""

    query_maxlen: _Length
    doc_maxlen: _Length
    query_token_id: str = "[unused0]"
    doc_token_id: str = "[unused1]"
    mask_punctuation: bool = True
    attend_to_mask_tokens: bool = False
    dim: int | None = None

    def as_pylate(self) -> _PyLate:
        """The same settings in the other's words."""
        return _PyLate(
            self.query_maxlen,
            self.doc_maxlen,
            query_prefix=self.query_token_id,
            document_prefix=self.doc_token_id,
            attend_to_expansion_tokens=self.attend_to_mask_tokens,
            skiplist_words=list(string.punctuation) if self.mask_punctuation else [],
            embedding_dim=self.dim,
        )


def _read_pylate(data: bytes) -> _PyLate:
    return msgspec.json.decode(data, type=_PyLate)


def _read_stanford(data: bytes) -> _PyLate:
    return msgspec.json.decode(data, type=_Stanford).as_pylate()


SETTINGS: Mapping[str, Callable[[bytes], _PyLate]] = {
    "onnx_config.json": _read_pylate,
    "config_sentence_transformers.json": _read_pylate,
    "artifact.metadata": _read_stanford,
}


@dataclass(frozen=True, slots=True)
class Folder:
    """A model's settings.  Lengths are tokens with markers, start and end; `dimensions` 0: the
    graph says; `skipped` are the tokens of documents whose vectors do not count."""

    name: str
    graph: Path
    tokenizer: Tokenizer
    query_marker: int
    document_marker: int
    query_length: int
    document_length: int
    expands_queries: bool
    attends_to_expansion: bool
    mask_id: int
    pad_id: int
    skipped: frozenset[int]
    dimensions: int
    lower_case: bool


def read_folder(directory: Path) -> Folder:
    """Raises ConfigError with everything that is wrong, as far as can be told at once."""
    problems: list[str] = []
    if not directory.is_dir():
        raise unusable(directory, ["there is no such folder"])
    graph = directory / GRAPH
    if not graph.is_file():
        problems.append(f"{GRAPH} is missing")
    tokenizer = _tokenizer(directory / TOKENIZER, problems)
    settings = _settings(directory, problems)
    if tokenizer is None or settings is None or problems:
        raise unusable(directory, problems)
    found = _Tokens(tokenizer, problems)
    folder = Folder(
        name=_name(settings.model_name or directory.resolve().name),
        graph=graph,
        tokenizer=tokenizer,
        query_marker=found.marker(settings.query_prefix_id, settings.query_prefix, "[Q]", "query"),
        document_marker=found.marker(
            settings.document_prefix_id, settings.document_prefix, "[D]", "document"
        ),
        query_length=settings.query_length,
        document_length=settings.document_length,
        expands_queries=settings.do_query_expansion is not False,
        attends_to_expansion=settings.attend_to_expansion_tokens is True,
        mask_id=found.special(settings.mask_token_id, _MASKS, "mask"),
        pad_id=found.first(settings.pad_token_id, _PADS) or 0,
        skipped=found.known(
            string.punctuation if settings.skiplist_words is None else settings.skiplist_words
        ),
        dimensions=settings.embedding_dim or 0,
        lower_case=settings.do_lower_case,
    )
    if problems:
        raise unusable(directory, problems)
    return folder


def unusable(directory: Path, problems: Sequence[str]) -> ConfigError:
    """What to tell whoever configured it."""
    return ConfigError(f"[inference] colbert_dir {directory}: {'; '.join(problems)}")


class _Tokens:
    """Ids of tokens that settings name; what is not there becomes a problem."""

    def __init__(self, tokenizer: Tokenizer, problems: list[str]) -> None:
        self._tokenizer = tokenizer
        self._problems = problems

    def marker(self, token_id: int | None, text: str | None, usual: str, of: str) -> int:
        words = text if text is not None else usual
        found = self.first(token_id, (words, words.strip(), f"{words.strip()} "))
        if found is None:
            self._problems.append(
                f"the {of} marker {words.strip()!r} is not a token of {TOKENIZER}"
            )
        return found or 0

    def special(self, token_id: int | None, usual: Sequence[str], name: str) -> int:
        found = self.first(token_id, usual)
        if found is None:
            self._problems.append(f"{TOKENIZER} has no {name} token ({' or '.join(usual)})")
        return found or 0

    def first(self, token_id: int | None, words: Sequence[str]) -> int | None:
        """`token_id` where it is one, else that of the first of `words` that is a token."""
        if token_id is not None and self._tokenizer.id_to_token(token_id) is not None:
            return token_id
        found = (self._tokenizer.token_to_id(word) for word in words)
        return next((each for each in found if each is not None), None)

    def known(self, words: Sequence[str]) -> frozenset[int]:
        found = (self._tokenizer.token_to_id(word) for word in words)
        return frozenset(each for each in found if each is not None)


def _tokenizer(file: Path, problems: list[str]) -> Tokenizer | None:
    if not file.is_file():
        problems.append(f"{TOKENIZER} is missing")
        return None
    try:
        return read_tokenizer(file)
    except ModelUnusable as exc:
        problems.append(str(exc))
        return None


def _settings(directory: Path, problems: list[str]) -> _PyLate | None:
    for name, read in SETTINGS.items():
        file = directory / name
        if not file.is_file():
            continue
        try:
            return read(file.read_bytes())
        except (msgspec.DecodeError, UnicodeDecodeError, OSError) as exc:
            problems.append(f"{name} has no settings of a ColBERT model: {exc}")
            return None
    problems.append(f"the settings are missing: one of {', '.join(SETTINGS)}")
    return None


def _name(model: str) -> str:
    """A name that says what it is, without the owner of its repository; it goes into headers."""
    last = _ODD.sub("-", model.rstrip("/").rpartition("/")[2]).strip("-")[:_NAME_CHARS] or "model"
    return last if "colbert" in last.lower() else f"colbert-{last}"
