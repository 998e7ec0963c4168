"""Points in time on the command line; see domain/instants.py."""

import argparse

from appliance.domain import instants


def instant(text: str, now: float) -> float:
    """As domain.instants.instant; raises argparse.ArgumentTypeError with what to write instead."""
    try:
        return instants.instant(text, now)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
