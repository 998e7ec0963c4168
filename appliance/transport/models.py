"""`GET /v1/models` and `/v1/models/{id}`: what a client may ask for by name, in its surface's
shape."""

from collections.abc import Awaitable, Callable
from urllib.parse import unquote

import falcon.asgi

from appliance.domain.errors import ModelNotFound
from appliance.domain.routing.names import same
from appliance.domain.routing.router import NamedModel
from appliance.presentation.listed import ListedModel
from appliance.transport.context import context_of
from appliance.transport.shapes import Shapes

Names = Callable[[], Awaitable[list[NamedModel]]]


class ModelsResource:
    """The list; `created` is the gateway's start, in Unix seconds: backends do not tell theirs
    alike."""

    def __init__(self, names: Names, shapes: Shapes, created: int) -> None:
        self._names = names
        self._shapes = shapes
        self._created = created

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """The surface's list."""
        models = [_listed(row, self._created) for row in await self._names()]
        shape = self._shapes.of(req.path, context_of(req.scope).headers)
        resp.content_type = "application/json"
        resp.data = shape.models.listing(models)


class ModelResource:
    """One model; its id may hold `/` and `:`."""

    def __init__(self, names: Names, shapes: Shapes, created: int) -> None:
        self._names = names
        self._shapes = shapes
        self._created = created

    async def on_get(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, model: str
    ) -> None:
        """The surface's model object.  Raises ModelNotFound."""
        wanted = unquote(model)
        rows = await self._names()
        exact = (row for row in rows if row.name == wanted)
        found = next(exact, None) or next((row for row in rows if same(row.name, wanted)), None)
        if found is None:
            raise ModelNotFound(f"The model {wanted!r} does not exist.", param="model")
        shape = self._shapes.of(req.path, context_of(req.scope).headers)
        resp.content_type = "application/json"
        resp.data = shape.models.one(_listed(found, self._created))


def _listed(row: NamedModel, created: int) -> ListedModel:
    return ListedModel(row.name, row.backend, created, row.context_window, row.max_output_tokens)
