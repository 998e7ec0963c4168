"""What we read of a rerank request."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from appliance.presentation.json_body import ModelName

MAX_DOCUMENTS = 10_000  # of any configuration; [rerank] max_documents says how many there may be
MAX_NAME_CHARS = 512
MAX_RANK_FIELDS = 64


class WireRequest(msgspec.Struct):
    """`documents` are checked by hand, so that an error names the one at fault."""

    query: Annotated[str, Meta(min_length=1)]
    documents: list[Any]
    model: ModelName | None = ""
    top_n: Annotated[int, Meta(ge=1, le=2**31 - 1)] | None = None
    return_documents: bool | None = False
    rank_fields: Annotated[list[str], Meta(max_length=MAX_RANK_FIELDS)] | None = None
    x_project: str | None = None
    x_conversation: str | None = None
