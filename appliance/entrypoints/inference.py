"""The inference role, wired: ONNX embeddings behind HTTP."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from appliance.config.schema import InferenceConfig
from appliance.domain.identity import Identity, identify, new_trace_id
from appliance.entrypoints.options import RunOptions
from appliance.entrypoints.serve import serve
from appliance.infra.onnx.batching import Batcher
from appliance.infra.onnx.metrics import InferenceMetrics
from appliance.infra.onnx.runtime import Verified, model_dir, open_verified
from appliance.infra.onnx.spec import DIMENSIONS, MAX_INPUT_TOKENS, MODEL_ID, VECTOR_MODEL
from appliance.infra.telemetry.logs import AccessLines, configure
from appliance.transport.inference import RoleInfo, RoleServices, build_inference_app

_MAX_CLIENT_BATCH = 256  # texts in one request


def run(options: RunOptions) -> None:
    """Serve until told to stop.  Raises ConfigError when there is no model, or none that works."""
    configure("inference", options.config.log.level)
    config = options.config.inference
    role = Role(config)
    app = build_inference_app(
        RoleServices(
            embedding=role.batcher,
            info=_info(config),
            precision=role.precision,
            count=role.metrics.request,
            metrics=role.metrics.render,
            identify=_identify,
            monotonic=time.monotonic,
            access_log=AccessLines("inference", options.config.log.level).write,
        )
    )
    serve(app, options.listen or config.listen, role.running())


class Role:
    """The model and what feeds it; opened and closed by `running()`."""

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

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load, verify and serve until the end of the block."""
        async with self.batcher.running():
            yield

    def precision(self) -> tuple[str, str]:
        """The graph in use, and why it is not the first choice ("" when it is)."""
        return (self._model.precision, self._model.degraded) if self._model else ("", "")

    def _open(self) -> Verified:
        directory = model_dir(self._config.model_dir)
        self._model = model = open_verified(directory, threads=self._config.threads)
        self.metrics.loaded(model.precision, bool(model.degraded), model.cosine)
        return model


def _info(config: InferenceConfig) -> RoleInfo:
    return RoleInfo(
        model_id=MODEL_ID,
        vector_model=VECTOR_MODEL,
        dimensions=DIMENSIONS,
        max_input_tokens=MAX_INPUT_TOKENS,
        max_batch_tokens=config.max_batch_tokens,
        max_queue=config.max_queue,
        max_client_batch_size=min(_MAX_CLIENT_BATCH, config.max_queue),
        version=version("agent-gateway-appliance"),
    )


def _identify(correlation: str | None, request_id: str | None) -> Identity:
    trace_id = new_trace_id(time.time_ns() // 1_000_000, os.urandom(10))
    return identify(trace_id, correlation, request_id)
