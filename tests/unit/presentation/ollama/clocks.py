"""Clocks for the encoder's lines: a wall that stands, and a millisecond for every look."""

from itertools import count

from appliance.presentation.ollama.instants import Instants

WALL_NS = 1_700_000_000_123_456_789
STEP_NS = 1_000_000


def instants() -> Instants:
    looks = count(step=STEP_NS)
    return Instants(lambda: WALL_NS, lambda: next(looks))
