"""The inference role, wired: ONNX embeddings and rerankers behind HTTP."""

import logging
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from appliance.config.schema import InferenceConfig, RerankConfig
from appliance.domain.identity import Identity, identify, new_trace_id
from appliance.domain.rerank.ports import Kind
from appliance.entrypoints.options import RunOptions
from appliance.entrypoints.serve import serve
from appliance.infra.onnx.batching import Batcher
from appliance.infra.onnx.colbert.encoder import Colbert
from appliance.infra.onnx.colbert.ranker import MaxSimRanker
from appliance.infra.onnx.metrics import InferenceMetrics
from appliance.infra.onnx.ranking import FusionRanker
from appliance.infra.onnx.runtime import Verified, model_dir, open_verified
from appliance.infra.onnx.spec import (
    DIMENSIONS,
    MAX_BODY_BYTES,
    MAX_INPUT_TOKENS,
    MODEL_ID,
    VECTOR_MODEL,
)
from appliance.infra.telemetry.logs import AccessLines, configure
from appliance.transport.inference import RoleInfo, RoleServices, build_inference_app
from appliance.transport.inference.services import Ranker

_log = logging.getLogger("appliance.inference")
_MAX_CLIENT_BATCH = 256  # texts in one request


def run(options: RunOptions) -> None:
    """Serve until told to stop.  Raises ConfigError when there is no model, or none that works."""
    configure("inference", options.config.log.level)
    config = options.config.inference
    role = Role(config)
    metrics = role.metrics
    app = build_inference_app(
        RoleServices(
            embedding=role.batcher,
            ranker=role.rankers.get,
            info=_info(config, options.config.rerank),
            precision=role.precision,
            count=metrics.request,
            count_rerank=metrics.reranked,
            metrics=metrics.render,
            identify=_identify,
            monotonic=time.monotonic,
            access_log=AccessLines("inference", options.config.log.level).write,
        )
    )
    serve(app, options.listen or config.listen, role.running())


class Role:
    """The models and what feeds them; opened and closed by `running()`."""

    def __init__(self, config: InferenceConfig) -> None:
        self._config = config
        self._model: Verified | None = None
        self.metrics = InferenceMetrics()
        self.batcher = Batcher(
            self._open,
            self.metrics,
            max_batch_tokens=config.max_batch_tokens,
            max_queue=config.max_queue,
        )
        self.metrics.watch_queue(lambda: self.batcher.queue_depth)
        self.rankers: dict[Kind, Ranker] = {"fusion": FusionRanker(self.batcher)}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load, verify and serve until the end of the block."""
        self._open_colbert()
        async with self.batcher.running():
            yield

    def precision(self) -> tuple[str, str]:
        """The graph in use, and why it is not the first choice ("" when it is)."""
        return (self._model.precision, self._model.degraded) if self._model else ("", "")

    def _open_colbert(self) -> None:
        """Raises ConfigError when there is something wrong with the user's folder, whatever else
        works: it was asked for."""
        if not (named := self._config.colbert_dir):
            return
        model = Colbert.load(Path(named).expanduser(), threads=self._config.threads)
        self.rankers["maxsim"] = MaxSimRanker(self.batcher, model, self.metrics.maxsim)
        _log.info("model_loaded", extra={"model": model.name, "dir": named})

    def _open(self) -> Verified:
        directory = model_dir(self._config.model_dir)
        self._model = model = open_verified(directory, threads=self._config.threads)
        self.metrics.loaded(model.precision, bool(model.degraded), model.cosine)
        return model


def _info(config: InferenceConfig, rerank: RerankConfig) -> RoleInfo:
    return RoleInfo(
        model_id=MODEL_ID,
        vector_model=VECTOR_MODEL,
        dimensions=DIMENSIONS,
        max_input_tokens=MAX_INPUT_TOKENS,
        max_batch_tokens=config.max_batch_tokens,
        max_queue=config.max_queue,
        max_client_batch_size=min(_MAX_CLIENT_BATCH, config.max_queue),
        max_body_bytes=MAX_BODY_BYTES,
        max_rerank_texts=rerank.max_documents,
        rerank_timeout_s=rerank.timeout_s,
        version=version("agent-gateway-appliance"),
    )


def _identify(correlation: str | None, request_id: str | None) -> Identity:
    trace_id = new_trace_id(time.time_ns() // 1_000_000, os.urandom(10))
    return identify(trace_id, correlation, request_id)
