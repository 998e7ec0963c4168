"""What a dataset says of itself: manifest.json; and what its export says beside.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

SCHEMA = "dataset/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetFile:
    """One file: `pairs` in it, its size, and the sha256 of its bytes in hex."""

    pairs: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """`read` pairs became `train`, `validation` and, by reason, `excluded` ones (rules.REASONS, all
    of them, in their order; duplicates are among them).

    Times are RFC 3339.  `since` and `until` are what was asked for, `oldest` and `newest` the first
    and the last pair in the files; None where there is none.  `filters` is `[dataset]` as it was,
    `privacy_store` `[privacy] store`; `files` are by name.
    """

    schema: str = SCHEMA
    made_at: str
    appliance: str
    privacy_store: str
    since: str | None
    until: str | None
    oldest: str | None
    newest: str | None
    read: int
    train: int
    validation: int
    exact_duplicates: int
    near_duplicates: int
    excluded: Mapping[str, int]
    filters: Mapping[str, Any]
    files: Mapping[str, DatasetFile]


@dataclass(frozen=True, slots=True)
class Exported:
    """A dataset that is written.  `sequences` are inclusive ranges, in order: where PIPELINE has
    the chats of its pairs.  Every pair within one is in the dataset, though other chats lie there,
    too."""

    manifest: Manifest
    sequences: Sequence[tuple[int, int]]
