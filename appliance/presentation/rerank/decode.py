"""From the body of a rerank request to RerankRequest; pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from appliance.domain.errors import InvalidRequest
from appliance.domain.rerank.service import Document, RerankRequest
from appliance.presentation.extensions import FIELDS, extensions
from appliance.presentation.json_body import convert, decode_object
from appliance.presentation.rerank.wire import MAX_DOCUMENTS, MAX_NAME_CHARS, WireRequest

_OWN = frozenset({"model", "query", "documents", "top_n", "return_documents", "rank_fields"})
_NAMES = ("id", "name", "title")  # of a document that is an object


def decode(body: bytes, headers: Mapping[str, str]) -> RerankRequest:
    """Raises InvalidRequest.  `max_chunks_per_doc`, `max_tokens_per_doc` and whatever else there is
    change nothing: a text is read up to what the model reads."""
    sent = decode_object(body)
    wire = convert(sent, WireRequest)
    return RerankRequest(
        model=wire.model or "",
        query=wire.query,
        documents=_documents(wire.documents, tuple(dict.fromkeys(wire.rank_fields or ("text",)))),
        top_n=wire.top_n,
        return_documents=bool(wire.return_documents),
        dropped=tuple(name for name in sent if name not in _OWN and name not in FIELDS),
        extensions=extensions(
            {"project": wire.x_project, "conversation": wire.x_conversation}, headers
        ),
    )


def _documents(given: Sequence[Any], fields: Sequence[str]) -> tuple[Document, ...]:
    if not given:
        raise InvalidRequest("documents must hold at least one document", param="documents")
    if len(given) > MAX_DOCUMENTS:
        raise InvalidRequest(
            f"documents holds more than {MAX_DOCUMENTS} documents", param="documents"
        )
    return tuple(_document(document, index, fields) for index, document in enumerate(given))


def _document(sent: Any, index: int, fields: Sequence[str]) -> Document:
    """A text, or an object with one in `fields`; several are read in their order."""
    if isinstance(sent, dict):
        texts = [sent[name] for name in fields if isinstance(sent.get(name), str)]
        text, name = "\n".join(texts), _name(sent)
    else:
        text, name = sent, ""
    if not isinstance(text, str) or not text:
        raise InvalidRequest(
            f"documents[{index}] must be a text that is not empty, or an object with one in "
            f"{' or '.join(fields[:8])}",
            param="documents",
        )
    return Document(text, sent, name)


def _name(sent: Mapping[str, Any]) -> str:
    """What the caller calls it, for the record."""
    found = (sent.get(name) for name in _NAMES)
    named = (str(each) for each in found if isinstance(each, str | int) and each != "")
    return next(named, "")[:MAX_NAME_CHARS]
