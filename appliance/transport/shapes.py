"""Whose shape an answer takes: the surface that owns the path, or, on the paths all surfaces share,
the one whose client this is."""

from collections.abc import Mapping, Sequence

from appliance.presentation.surface import Surface


class Shapes:
    """By path, then by the surface's marking header; the first surface's where neither tells."""

    def __init__(self, surfaces: Sequence[Surface]) -> None:
        self._default = surfaces[0]
        self._by_path: Mapping[str, Surface] = {
            route: surface for surface in surfaces for route in surface.routes
        }
        self._prefixed = [surface for surface in surfaces if surface.prefix]
        self._marked = [surface for surface in surfaces if surface.marker]

    def of(self, path: str, headers: Mapping[str, str]) -> Surface:
        """`headers` are lower case."""
        owner = self._by_path.get(path) or self._above(path)
        if owner is None:
            marked = (surface for surface in self._marked if surface.marker in headers)
            owner = next(marked, self._default)
        return owner

    def _above(self, path: str) -> Surface | None:
        """The owner of a route that `path` lies below, whether there is such a path or not (its
        client speaks that surface's wire: `/v1/messages/batches`); or of its prefix."""
        owners = (s for route, s in self._by_path.items() if path.startswith(f"{route}/"))
        prefixed = (s for s in self._prefixed if path.startswith(s.prefix))
        return next(owners, None) or next(prefixed, None)
