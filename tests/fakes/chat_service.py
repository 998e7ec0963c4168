"""The chat service over one backend in memory that always answers, for tests of what lies behind
its sink."""

import time

from appliance.config.schema import KnowledgeConfig
from appliance.domain.chat.attempts import RetryPolicy
from appliance.domain.chat.knowledge import Augmenter
from appliance.domain.chat.ports import Media
from appliance.domain.chat.service import ChatLimits, ChatService, Clock
from appliance.domain.chat.slots import SlotLimits, Slots
from appliance.domain.events.ledger import Ledger
from appliance.domain.events.ports import ExchangeSink
from appliance.domain.knowledge.retrieve import Retriever
from appliance.domain.routing.candidate import ModelRow
from appliance.domain.routing.directory import ModelDirectory
from appliance.domain.routing.health import EjectionPolicy, Health
from appliance.domain.routing.router import Router
from appliance.domain.sealing import Seal
from tests.fakes.chat_backend import FakeBackend, said
from tests.fakes.embedder import WordEmbedder
from tests.fakes.store import MemoryStore


class NoFetcher:
    """A MediaFetcher for requests that name no URL."""

    async def fetch(self, url: str) -> Media:
        raise AssertionError(f"nobody asked for {url}")


def chat_service(
    sink: ExchangeSink, clock: Clock, backend: FakeBackend | None = None
) -> ChatService:
    """Its one model is `m`."""
    backends = {"local": backend or FakeBackend("local", (said("Hel", "lo"),))}
    directory = ModelDirectory(backends, ttl_s=60, clock=time.monotonic)
    retriever = Retriever(WordEmbedder(), MemoryStore(), KnowledgeConfig())
    return ChatService(
        Router([ModelRow("m", "local")], ["local"], directory, default_backend="local"),
        backends,
        {"local": Slots("local", SlotLimits(4, 4, 1.0))},
        Augmenter(retriever, workspace="default"),
        Ledger((sink,)),
        retry=RetryPolicy(1, 0.001),
        limits=ChatLimits(5.0, 10.0),
        clock=clock,
        host="desk",
        status_of=lambda error: 502,
        health=Health(backends, EjectionPolicy(), clock=time.monotonic),
        fetcher=NoFetcher(),
        seal=Seal(b"a secret of the tests"),
    )
