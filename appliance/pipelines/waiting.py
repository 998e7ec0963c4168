"""Waiting for what a role of Dagster needs, with one line a reason in its log."""

import logging
from collections.abc import Callable

from appliance.config.schema import Config
from appliance.domain.errors import PartUnavailable
from appliance.pipelines.instance import require_database

Wait = Callable[[], str]  # why one must wait, "" when one need not
Pause = Callable[[float], object]  # for seconds; true: stop waiting
_RETRY_S = 1.0
_log = logging.getLogger("appliance.pipelines.waiting")


def until(what: str, wait: Wait, pause: Pause) -> bool:
    """Wait for `what` until there is nothing to wait for; False when told to stop before."""
    told = ""
    while why := wait():
        if why != told:
            _log.info("waiting", extra={"for": what, "why": why})
            told = why
        if pause(_RETRY_S):
            return False
    return True


def database_answers(config: Config) -> str:
    """A `Wait` for Dagster's database.  Raises ConfigError when there is no such database."""
    try:
        require_database(config)
    except PartUnavailable as exc:
        return str(exc)
    return ""
