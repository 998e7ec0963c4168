"""The name of a workspace: documents of one are never found from another."""

import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # as config.schema.Name


def is_workspace(name: str) -> bool:
    """Whether `name` can be a workspace: letters, digits, `.`, `_`, `-`; 64 characters at most."""
    return _NAME.fullmatch(name) is not None
