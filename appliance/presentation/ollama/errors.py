"""Ollama's errors: a text and nothing else."""

import re

import msgspec

from appliance.presentation.errors import ErrorView

# Clients look for Ollama's own words, to offer a pull.
_UNKNOWN = re.compile(r"^The model ('.*?') does not exist")


def error(view: ErrorView) -> bytes:
    """`{"error": "…"}`."""
    return msgspec.json.encode({"error": _UNKNOWN.sub(r"model \1 not found", view.message)})
