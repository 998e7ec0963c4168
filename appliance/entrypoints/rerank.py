"""Wires POST /v1/rerank of the gateway."""

from appliance.config.schema import Config
from appliance.domain.events.recorder import Recorder
from appliance.domain.rerank.record import RecordedReranks
from appliance.domain.rerank.service import RerankService
from appliance.infra.http.client import HttpClient
from appliance.infra.inference.rerank import RerankClient


def make_rerank(config: Config, http: HttpClient, recorder: Recorder) -> RecordedReranks:
    """Nothing is asked yet."""
    service = RerankService(
        RerankClient(config.inference, config.rerank, http),
        max_documents=config.rerank.max_documents,
        timeout_s=config.rerank.timeout_s,
    )
    return RecordedReranks(service, recorder)
