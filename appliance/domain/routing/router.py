"""From the name a client asked for to the backends to try.  Step 5 of the path; decides, sends
nothing.

Exact row, then the first pattern, then a backend whose own list has the name (the default backend
first), then, for an empty name or `auto`, the default backend; otherwise ModelNotFound.  At each of
these steps `x` and `x:latest` are one name: as asked first, then the other way (names.py).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from appliance.domain.chat.ports import ModelCard
from appliance.domain.errors import BackendUnavailable, ModelNotFound
from appliance.domain.routing.candidate import Candidate, ModelRow, Plan
from appliance.domain.routing.catalog import Catalog
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.names import twin

AUTO = ("", "auto")
KEPT_PLANS = 1024
_GLOB = frozenset("*?[")


def is_pattern(match: str) -> bool:
    """True when `match` is a glob and not a name."""
    return not _GLOB.isdisjoint(match)


@dataclass(frozen=True, slots=True)
class NamedModel:
    """A name to ask for, who serves it, and its windows in tokens (0: nobody knows).

    `family` and `capabilities` as the catalog knows them; `details` are what its backend's own list
    says of it, in the words of that backend.
    """

    name: str
    backend: str
    context_window: int = 0
    max_output_tokens: int = 0
    family: str = ""
    capabilities: frozenset[str] = frozenset()
    details: Mapping[str, Any] = field(default_factory=dict, compare=False)


class Router:
    """`rows` in order of precedence; rows of backends that are not in `backends` are inactive."""

    def __init__(
        self,
        rows: Sequence[ModelRow],
        backends: Sequence[str],
        directory: ModelDirectory,
        *,
        default_backend: str,
    ) -> None:
        self._backends = tuple(backends)
        self._active = [row for row in rows if row.backend in self._backends]
        self._exact: dict[str, ModelRow] = {}
        for row in self._active:
            if not is_pattern(row.match):
                self._exact.setdefault(row.match, row)
        self._patterns = [row for row in self._active if is_pattern(row.match)]
        self._catalog = Catalog(rows)
        self._directory = directory
        self._default = default_backend
        self._planned: dict[str, Plan] = {}
        self._planned_at = 0

    async def plan(self, model: str) -> Plan:
        """Where `model` may go.  Raises ModelNotFound when no configured backend serves it."""
        other = twin(model)
        if (model in AUTO or other in AUTO[1:]) and self._exact.keys().isdisjoint((model, other)):
            return await self._default_plan(model)
        if plan := self._by_row(model):
            return plan
        await self._directory.refresh()
        for name in filter(None, (model, other)):
            for backend in self._listing_order():
                for card in await self._directory.cards(backend):
                    if name in (card.name, card.upstream):
                        return self._card_plan(backend, card)
        raise ModelNotFound(
            f"The model {model!r} does not exist: no configured backend serves it. "
            "GET /v1/models lists what there is.",
            param="model",
            code="model_not_found",
        )

    def _by_row(self, model: str) -> Plan | None:
        """The plan of the row that `model` is or matches; kept until a backend lists anew."""
        if self._planned_at != self._directory.version or len(self._planned) >= KEPT_PLANS:
            self._planned.clear()
            self._planned_at = self._directory.version
        if (plan := self._planned.get(model)) is not None:
            return plan
        names = [name for name in (model, twin(model)) if name]
        for name in names:
            if (row := self._exact.get(name)) is not None:
                plan = self._planned[model] = self._row_plan(name, row, f"name {row.match}")
                return plan
        for name in names:
            row = next((r for r in self._patterns if fnmatchcase(name, r.match)), None)
            if row is not None:
                plan = self._planned[model] = self._row_plan(name, row, f"pattern {row.match}")
                return plan
        return None

    async def names(self) -> list[NamedModel]:
        """Everything a client may ask for by name: rows first, then what backends list."""
        await self._directory.refresh()
        found = {row.match: row.backend for row in self._exact.values()}
        cards: dict[str, ModelCard] = {}
        for backend in self._listing_order():
            for card in await self._directory.cards(backend):
                found.setdefault(card.name, backend)
                cards.setdefault(card.name, card)
        return [self._named(name, owner, cards.get(name)) for name, owner in found.items()]

    async def about(self, model: str) -> NamedModel:
        """What is known of the model that `model` is sent to.  Raises what `plan` raises."""
        plan = await self.plan(model)
        first = plan.candidates[0]
        told = self._catalog.describe(first.upstream_model, first.backend, plan.row)
        return NamedModel(
            plan.selected,
            first.backend,
            self.context_window(plan),
            told.max_output_tokens,
            told.parsing.family,
            told.capabilities,
        )

    def context_window(self, plan: Plan) -> int:
        """Tokens the planned model reads: as configured, as its server tells, as the catalog says;
        0 when nobody says."""
        if plan.row is not None and plan.row.context_window:
            return plan.row.context_window
        first = plan.candidates[0]
        card = self._directory.known(first.backend, first.upstream_model)
        listed = card.context_window if card else None
        return listed or self._catalog.describe(first.upstream_model).context_window

    def _listing_order(self) -> list[str]:
        return sorted(self._backends, key=lambda name: name != self._default)

    async def _default_plan(self, model: str) -> Plan:
        if self._default not in self._backends:
            raise ModelNotFound(
                "No model was named and no default backend is configured.",
                param="model",
                code="model_not_found",
            )
        why = f"default backend for {model or 'no name'}"
        row = next(
            (r for r in self._active if r.backend == self._default and not is_pattern(r.match)),
            None,
        )
        if row is not None:
            return self._row_plan(row.match, row, why)
        cards = await self._directory.cards(self._default)
        if not cards:
            problem = await self._directory.problem(self._default)
            raise BackendUnavailable(
                problem or f"backend {self._default} lists no model: name one",
                backend=self._default,
            )
        return self._card_plan(self._default, cards[0], why)

    def _row_plan(self, model: str, row: ModelRow, reason: str) -> Plan:
        upstream = row.upstream_model or self._upstream(row.backend, model)
        first = self._candidate(row.backend, upstream, row)
        rest = [self._fallback(model, name) for name in row.fallback if name in self._backends]
        return Plan(
            selected=model,
            candidates=(first, *rest),
            reason=reason,
            route=row.route,
            workspace=row.workspace,
            row=row,
        )

    def _card_plan(self, backend: str, card: ModelCard, reason: str = "") -> Plan:
        why = reason or f"listed by {backend}"
        return Plan(card.name, (self._candidate(backend, card.upstream),), why)

    def _fallback(self, model: str, backend: str) -> Candidate:
        """On a fallback backend the name is its own row's for this model, where there is one."""
        for row in self._active:
            if row.backend == backend and fnmatchcase(model, row.match) and row.upstream_model:
                return self._candidate(backend, row.upstream_model, row)
        return self._candidate(backend, self._upstream(backend, model))

    def _candidate(self, backend: str, upstream: str, row: ModelRow | None = None) -> Candidate:
        """The name `upstream` says how its text is read: the one asked for may be an alias of
        anything (`claude-*` sent to a model of one's own)."""
        parsing = self._catalog.describe(upstream, backend, row).parsing
        return Candidate(backend, upstream, parsing)

    def _upstream(self, backend: str, model: str) -> str:
        card = self._directory.known(backend, model) or self._directory.known(backend, twin(model))
        return card.upstream if card else model

    def _named(self, name: str, backend: str, card: ModelCard | None) -> NamedModel:
        told = self._catalog.describe(name)
        window = card.context_window if card else None
        return NamedModel(
            name,
            backend,
            window or told.context_window,
            told.max_output_tokens,
            told.parsing.family,
            told.capabilities,
            card.details if card else {},
        )
