"""From pairs in PostgreSQL to a folder of training data.  Called by `appliance dataset export` and
by the asset `chat_pair_dataset`; a batch job, which holds its event loop while it computes.

Read, judge, find duplicates, divide, write: pairs lie in a draft on disk in between, so that memory
is 105 bytes and an id for each at the default of near_duplicates.  The same pairs under the same
configuration give the same bytes.
"""

import importlib
from collections import Counter
from contextlib import ExitStack, closing
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import msgspec

from appliance.config.schema import DatasetConfig
from appliance.domain.datasets.manifest import DatasetFile, Exported, Manifest
from appliance.domain.datasets.pair import Pair
from appliance.domain.datasets.rules import EXACT, FORGOTTEN, LANGUAGE, NEAR, REASONS, excluded
from appliance.domain.datasets.split import SIDES, Side, side_of
from appliance.domain.errors import ConfigError
from appliance.domain.events.exchange import Store
from appliance.infra.datasets.draft import Draft
from appliance.infra.datasets.duplicates import duplicates
from appliance.infra.datasets.folder import MANIFEST, create, digest, filters_of, replacing
from appliance.infra.postgres.pairs import Forgotten, PairReader
from appliance.infra.postgres.pool import PostgresPool

# Format -> what writes it.  Imported when it is needed: pyarrow takes 50 MiB.
FORMATS = {
    "jsonl": "appliance.infra.datasets.jsonl:JsonlFile",
    "parquet": "appliance.infra.datasets.parquet:ParquetFile",
}
_DETECTOR = "appliance.infra.datasets.language:LanguageDetector"


class PairFile(Protocol):
    """A file of a dataset."""

    def __init__(self, path: Path) -> None: ...

    def add(self, pair: Pair) -> None:
        """Raises OSError."""

    def close(self) -> None:
        """Raises OSError."""


class Detector(Protocol):
    """Tells languages."""

    def language(self, response: str, prompt: str) -> str:
        """ISO 639, `und` where nobody can tell."""


async def export(
    pool: PostgresPool,
    config: DatasetConfig,
    store: Store,
    target: Path,
    *,
    since: float | None,
    until: float | None,
) -> Exported:
    """Replace `target` by the pairs made from `since` on and before `until` (Unix seconds).

    Raises PartUnavailable when PostgreSQL or the disk fails, and ConfigError when the folder is not
    one for datasets or a library is missing; what was there before is untouched then.
    """
    formats = {end: _loaded(dotted) for end, dotted in FORMATS.items()}
    detector: Detector | None = _loaded(_DETECTOR)() if config.languages else None
    reader = PairReader(
        pool,
        config.context,
        max_prompt_chars=config.max_prompt_chars,
        max_response_chars=config.max_response_chars,
        since=since,
        until=until,
    )
    began = await reader.now()
    with replacing(target) as folder, closing(Draft(folder, config.near_duplicates)) as draft:
        draft.open()
        left_out = await _collect(reader, draft, config, store, detector)
        gone = duplicates(draft.features(), draft.alike)
        while True:  # until nobody was forgotten while it was written
            forgotten = await reader.forgotten(began)
            written = _Written(folder, config, formats)
            written.write(draft, gone, forgotten)
            if await reader.forgotten(began) == forgotten:
                break
        counts = left_out + Counter(gone.values()) + Counter({FORGOTTEN: written.forgotten})
        manifest = _manifest(written, config, store, counts, since, until)
        with create(folder / MANIFEST) as file:
            file.write(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")
    return Exported(manifest, written.sequences)


async def _collect(
    reader: PairReader,
    draft: Draft,
    config: DatasetConfig,
    store: Store,
    detector: Detector | None,
) -> Counter[str]:
    """Put those no rule is against into `draft`; how many there is one against, by reason."""
    left_out: Counter[str] = Counter()
    async for batch in reader.batches():
        for pair in batch:
            reason = excluded(pair, config, store)
            if not reason and detector is not None:
                language = detector.language(pair.response, pair.prompt)
                pair = replace(pair, language=language)
                reason = "" if language in config.languages else LANGUAGE
            if reason:
                left_out[reason] += 1
            else:
                draft.add(pair)
    return left_out


class _Written:
    """What is in the files of `folder`: pairs by side, between which times, and of where in the
    stream."""

    def __init__(
        self, folder: Path, config: DatasetConfig, formats: dict[str, type[PairFile]]
    ) -> None:
        self._folder = folder
        self._config = config
        self._formats = formats
        self.sides: Counter[Side] = Counter()
        self.forgotten = 0
        self.oldest: datetime | None = None
        self.newest: datetime | None = None
        self.sequences: list[tuple[int, int]] = []
        self._last_place = -1

    def write(self, draft: Draft, gone: dict[int, str], forgotten: Forgotten) -> None:
        """Every pair of `draft` that is neither gone nor forgotten, in the order they were read.
        Raises OSError."""
        with ExitStack() as stack:
            files = {side: self._files(side, stack) for side in SIDES}
            for number in range(len(draft)):
                if number in gone:
                    continue
                pair = draft.pair(number)
                if forgotten.covers(pair):
                    self.forgotten += 1
                    continue
                self._count(pair)
                side = side_of(pair, self._config.context, self._config.validation_share)
                self.sides[side] += 1
                for file in files[side]:
                    file.add(pair)

    def files(self) -> dict[str, DatasetFile]:
        """By name.  Raises OSError."""
        found = {}
        for side in SIDES:
            for end in self._formats:
                path = self._folder / f"{side}.{end}"
                size = path.stat().st_size
                found[path.name] = DatasetFile(
                    pairs=self.sides[side], bytes=size, sha256=digest(path)
                )
        return found

    def _files(self, side: Side, stack: ExitStack) -> list[PairFile]:
        made = []
        for end, kind in self._formats.items():
            path = self._folder / f"{side}.{end}"
            path.unlink(missing_ok=True)
            made.append(stack.enter_context(closing(kind(path))))
        return made

    def _count(self, pair: Pair) -> None:
        made = pair.created_at
        self.oldest = made if self.oldest is None or made < self.oldest else self.oldest
        self.newest = made if self.newest is None or made > self.newest else self.newest
        follows = self.sequences and pair.place == self._last_place + 1
        first = self.sequences.pop()[0] if follows else pair.sequence
        self.sequences.append((first, pair.sequence))
        self._last_place = pair.place


def _manifest(
    written: _Written,
    config: DatasetConfig,
    store: Store,
    counts: Counter[str],
    since: float | None,
    until: float | None,
) -> Manifest:
    return Manifest(
        made_at=_rfc3339(datetime.now(UTC)) or "",
        appliance=version("agent-gateway-appliance"),
        privacy_store=store,
        since=_rfc3339(since),
        until=_rfc3339(until),
        oldest=_rfc3339(written.oldest),
        newest=_rfc3339(written.newest),
        read=counts.total() + written.sides.total(),
        train=written.sides["train"],
        validation=written.sides["validation"],
        exact_duplicates=counts[EXACT],
        near_duplicates=counts[NEAR],
        excluded={reason: counts[reason] for reason in REASONS},
        filters=filters_of(config),
        files=written.files(),
    )


def _rfc3339(at: datetime | float | None) -> str | None:
    if at is None:
        return None
    when = at if isinstance(at, datetime) else datetime.fromtimestamp(at, UTC)
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _loaded(dotted: str) -> type:
    """What `module:name` is.  Raises ConfigError when its library is not installed."""
    module, _, name = dotted.partition(":")
    try:
        found: type = getattr(importlib.import_module(module), name)
    except ModuleNotFoundError as exc:
        raise ConfigError(
            f"datasets need {exc.name}: pip install 'agent-gateway-appliance[pipelines]'"
        ) from exc
    return found
