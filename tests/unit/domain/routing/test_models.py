"""What clients that manage models are told, and who is asked for it."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from appliance.domain.chat.ports import ModelCard
from appliance.domain.conversation.request import ChatRequest
from appliance.domain.errors import BackendTimeout, BackendUnavailable, ModelNotFound
from appliance.domain.identity import Identity
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.health import EjectionPolicy, Health
from appliance.domain.routing.models import Known, ModelService, Running
from appliance.domain.routing.router import Router
from tests.fakes.chat_backend import FakeBackend, Step, said

WHO = Identity("trace", "thread")
DOWN = BackendUnavailable("refused", backend="keeper")


class Keeper(FakeBackend):
    """A backend that keeps models; `fails`: it does not tell."""

    fails = False

    async def show(self, model: str) -> Mapping[str, Any]:
        if self.fails:
            raise DOWN
        return {"license": model}

    async def running(self) -> Sequence[Mapping[str, Any]]:
        if self.fails:
            raise DOWN
        return [{"name": "q:8b", "size_vram": 5}, {"odd": 1}]


class Desk:
    """A keeper, a server that holds what it lists, and one that does not say."""

    def __init__(self, play: Sequence[Step] = said(""), load_s: float = 5.0) -> None:
        listed = [ModelCard("q", "q:latest")]
        self.keeper = Keeper("keeper", (play,), listed, dialect="ollama")
        self.holder = FakeBackend("holder", listed=[ModelCard("v", "v", 4096, loaded=True)])
        self.other = FakeBackend("other", listed=[ModelCard("o", "o")])
        backends = {b.name: b for b in (self.keeper, self.holder, self.other)}
        directory = ModelDirectory(backends, ttl_s=60, clock=lambda: 0.0)
        self.health = Health(backends, EjectionPolicy(), clock=lambda: 0.0)
        router = Router([], list(backends), directory, default_backend="keeper")
        self.models = ModelService(router, directory, backends, self.health, load_s=load_s)


async def test_a_keeper_shows_its_models_itself() -> None:
    known = await Desk().models.show("q", dialect="ollama")
    assert (known.model.name, known.shown) == ("q", {"license": "q:latest"})


async def test_a_name_is_known_with_and_without_its_tag() -> None:
    models = Desk().models
    assert [await models.knows(name) for name in ("q", "v:latest", "nope")] == [True, True, False]


async def test_of_others_it_is_shown_what_is_known() -> None:
    desk = Desk()
    known = await desk.models.show("v:latest", dialect="ollama")
    assert known == Known(known.model)
    assert (known.model.name, known.model.context_window) == ("v", 4096)
    desk.keeper.fails = True
    assert (await desk.models.show("q", dialect="ollama")).shown is None
    with pytest.raises(ModelNotFound):
        await desk.models.show("nobody", dialect="ollama")


async def test_running_is_what_servers_tell_or_hold_by_their_kind() -> None:
    assert await Desk().models.running() == [
        Running("q:8b", "keeper", 0, {"name": "q:8b", "size_vram": 5}),
        Running("v", "holder", 4096),
    ]


async def test_nothing_runs_on_a_server_that_is_not_there() -> None:
    desk = Desk()
    desk.keeper.fails = True
    desk.holder.listed = DOWN
    assert await desk.models.running() == []


async def test_nothing_runs_on_a_backend_that_is_ejected() -> None:
    desk = Desk()
    for _ in range(10):
        desk.health.request_failed("holder", DOWN)
    assert [row.backend for row in await desk.models.running()] == ["keeper"]


async def test_a_backend_of_the_dialect_is_told_to_load_and_no_other() -> None:
    desk = Desk()
    request = ChatRequest("q:latest", (), dialect="ollama", params={"keep_alive": 0})
    assert await desk.models.load(request, WHO) == "q"
    assert desk.keeper.asked == [("q:latest", request)]
    assert await desk.models.load(ChatRequest("v", (), dialect="ollama"), WHO) == "v"
    assert desk.holder.asked == []
    with pytest.raises(ModelNotFound):
        await desk.models.load(ChatRequest("nobody", (), dialect="ollama"), WHO)


async def test_loading_has_its_limit() -> None:
    desk = Desk((60.0,), load_s=0.01)
    with pytest.raises(BackendTimeout, match="did not load"):
        await desk.models.load(ChatRequest("q", (), dialect="ollama"), WHO)
