"""What all productions of a gateway share."""

from dataclasses import dataclass

from appliance.domain.chat.service import ChatService
from appliance.domain.responses.live import LiveResponses
from appliance.domain.responses.ports import ResponseEvents
from appliance.domain.responses.rows import Rows
from appliance.domain.responses.tasks import Report, Tasks
from appliance.domain.responses.wiring import ResponseLimits, ResponseWire
from appliance.domain.sealing import Seal


@dataclass(frozen=True, slots=True)
class ProductionContext:
    """Handed to every Production; `seal` closes summaries; `report` writes into the log."""

    chat: ChatService
    rows: Rows
    in_progress: LiveResponses
    events: ResponseEvents
    tasks: Tasks
    wire: ResponseWire
    limits: ResponseLimits
    seal: Seal
    report: Report
