"""Choose the graph that serves: int8 where it computes what it should on this machine, else fp32,
said aloud."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from appliance.domain.errors import ConfigError
from appliance.infra.onnx import probe
from appliance.infra.onnx.encoder import Encoder, Ids, ModelUnusable
from appliance.infra.onnx.spec import GRAPHS, MANIFEST, MIN_COSINE, MODEL_ID, default_dirs

_log = logging.getLogger("appliance.inference")


@dataclass(frozen=True, slots=True)
class Verified:
    """A loaded encoder that passed its probe; `degraded` says why it is not the first choice, or
    is empty."""

    encoder: Encoder
    precision: str
    cosine: float
    degraded: str

    def tokenize(self, texts: Sequence[str]) -> list[Ids]:
        """See Encoder."""
        return self.encoder.tokenize(texts)

    def encode(self, batch: Sequence[Ids]) -> NDArray[np.float32]:
        """See Encoder."""
        return self.encoder.encode(batch)


def model_dir(configured: str) -> Path:
    """The configured folder, else the first place that holds a model.  Raises ConfigError with
    what to do."""
    places = [Path(configured).expanduser()] if configured else list(default_dirs())
    found = next((place for place in places if (place / MANIFEST).is_file()), None)
    if found is None:
        how = f"appliance build-model --dir {places[0]}" if configured else "appliance build-model"
        raise ConfigError(
            f"the embedding model {MODEL_ID} is not in {' or '.join(map(str, places))}: run `{how}`"
        )
    return found


def open_verified(directory: Path, *, threads: int) -> Verified:
    """Load and probe each precision in turn; ConfigError when none computes what it should."""
    degraded = ""
    for precision in GRAPHS:
        try:
            encoder = Encoder.load(directory, precision, threads=threads)
            cosine = probe.cosine(encoder)
        except ModelUnusable as exc:
            problem = f"{precision} does not run here: {exc}"
        else:
            if cosine >= MIN_COSINE[precision]:
                fields = {
                    "model": MODEL_ID,
                    "precision": precision,
                    "probe_cosine": round(cosine, 6),
                }
                _log.info("model_loaded", extra={**fields, "dir": str(directory)})
                return Verified(encoder, precision, cosine, degraded)
            least = MIN_COSINE[precision]
            problem = f"{precision} failed its probe: cosine {cosine:.5f}, at least {least}"
        _log.warning(
            "model_rejected",
            extra={"model": MODEL_ID, "precision": precision, "problem": problem},
        )
        degraded = f"{degraded}; {problem}" if degraded else problem
    raise ConfigError(
        f"the embedding model in {directory} cannot be used ({degraded}): run "
        "`appliance build-model --force`"
    )
