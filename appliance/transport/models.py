"""`GET /v1/models` and `/v1/models/{id}`: what a client may ask for by name."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import falcon.asgi
import msgspec

from appliance.domain.errors import ModelNotFound

Names = Callable[[], Awaitable[list[tuple[str, str]]]]


class ModelsResource:
    """The list; `created` is the gateway's start, in Unix seconds: backends do not tell theirs
    alike."""

    def __init__(self, names: Names, created: int) -> None:
        self._names = names
        self._created = created

    async def on_get(self, req: falcon.asgi.Request, resp: falcon.asgi.Response) -> None:
        """OpenAI's list object."""
        rows = [_row(name, owner, self._created) for name, owner in await self._names()]
        resp.content_type = "application/json"
        resp.data = msgspec.json.encode({"object": "list", "data": rows})


class ModelResource:
    """One model; its id may hold `/` and `:`."""

    def __init__(self, names: Names, created: int) -> None:
        self._names = names
        self._created = created

    async def on_get(
        self, req: falcon.asgi.Request, resp: falcon.asgi.Response, model: str
    ) -> None:
        """OpenAI's model object.  Raises ModelNotFound."""
        wanted = unquote(model)
        for name, owner in await self._names():
            if name == wanted:
                resp.content_type = "application/json"
                resp.data = msgspec.json.encode(_row(name, owner, self._created))
                return
        raise ModelNotFound(f"The model {wanted!r} does not exist.", param="model")


def _row(name: str, owner: str, created: int) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
