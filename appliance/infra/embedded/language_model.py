"""The embedded language model as a part: its command line, key, address and health.  The process is
`llm.py`.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.infra.supervise.probes import http_answers

ALIAS = "smollm2-135m-instruct"
KEY_VARIABLE = "APPLIANCE_LLM_KEY"
SLOTS = 2
# Per slot.  The model was trained on 8192; two slots of 4096 cost 344 MB resident, of 8192 529 MB.
CONTEXT_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Llm:
    """One server of one GGUF file."""

    model: Path
    port: int
    key: str

    @property
    def root(self) -> str:
        """Scheme, host and port; the API is below `/v1`."""
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> Sequence[str]:
        """The server in the foreground; `environment` goes with it."""
        module = ["-m", "appliance.infra.embedded.llm"]
        words = ["--model", str(self.model), "--port", str(self.port), "--alias", ALIAS]
        return [sys.executable, "-P", *module, *words]

    def environment(self) -> dict[str, str]:
        """What the command finds in its environment."""
        return {KEY_VARIABLE: self.key}

    async def healthy(self) -> bool:
        """Is the model loaded?"""
        return await http_answers(f"{self.root}/health")
