"""Payloads too large for one message: put whole into NATS's object store, and a small message
refers to them.

The shipper puts, the consumer and `appliance replay` resolve, `appliance forget` removes.  The
format is the object store's own, so that `nats object get PAYLOADS <event_id>` works: chunks on
`$O.PAYLOADS.C.<nuid>`, then one description on `$O.PAYLOADS.M.<name>`.  Each attempt has a nuid of
its own, so what a broken one left, or still has under way, is never part of an object.
Never keeps an object in memory beside the payload itself.
"""

import asyncio
import hashlib
import io
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext

from appliance.domain.errors import ApplianceError
from appliance.infra.nats.streams import BUCKET, PAYLOAD_SLACK_S, PAYLOADS, ensure_streams, request

CHUNK_BYTES = 128 * 1024  # what NATS's own clients take
HEADER_BYTES = 1024  # of a message, beside its payload, at most
WINDOW = 16  # chunks under way at once
# An object that is older is put again: it must outlive the message that is published now.
FRESH_S = PAYLOAD_SLACK_S / 2
_CHUNKS = f"$O.{BUCKET}.C"
_MARK = b',"payload_ref":{"bucket":"'
_TAIL_BYTES = 1024  # `payload_ref` is the last field, and no longer
_NO_BUCKET = (
    nats.errors.NoRespondersError,
    nats.js.errors.NoStreamResponseError,
    nats.js.errors.NotFoundError,
)
_encode = msgspec.json.Encoder().encode


class PayloadGone(ApplianceError):
    """The object a message refers to is not there any more, or is not what was put."""


class Reference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the whole body is: `size` in bytes, `sha256` in hexadecimal digits."""

    bucket: str
    object: str
    size: int
    sha256: str


class ReferenceMessage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is published instead: the envelope, and where the rest is."""

    event_id: str
    trace_id: str
    correlation_id: str
    conversation_id: str
    occurred_at: str
    schema: str
    host: str
    payload_ref: Reference


class _Description(msgspec.Struct, frozen=True):
    """The object store's word on one object, as far as it is needed; `digest` is
    `SHA-256=<urlsafe base64>`."""

    nuid: str
    size: int = 0
    digest: str = ""
    deleted: bool = False
    stored_at: float = 0.0  # Unix seconds, by the server's clock; not part of the JSON


_message = msgspec.json.Decoder(ReferenceMessage)
_description = msgspec.json.Decoder(_Description)


def is_reference(data: bytes) -> bool:
    """Does `data` refer to a body elsewhere?  Cheap; text that looks like it does not deceive.

    Inside a JSON string a quote is escaped, so the mark is a key; an object of a caller that has
    the key as well is not alone beside an envelope.
    """
    if not data.endswith(b'"}}') or data.find(_MARK, -_TAIL_BYTES) < 0:
        return False
    try:
        _message.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return False
    return True


class Payloads:
    """The bucket PAYLOADS.  `wall` is Unix seconds, as the servers' clocks tell them."""

    def __init__(
        self, js: JetStreamContext, replicas: int = 1, wall: Callable[[], float] = time.time
    ) -> None:
        self._js = js
        self._replicas = replicas
        self._wall = wall

    async def put(self, body: Mapping[str, Any], data: bytes) -> bytes:
        """Keep `data`, the JSON of `body`, under its `event_id`; the message to publish instead.

        The same again for the same event, at no cost when it is there.  Makes the bucket again when
        it is gone.  Raises ConfigError, and nats errors while it cannot be stored: then put again.
        """
        name = str(body["event_id"])
        digest = await asyncio.to_thread(_sha256, data)
        try:
            await self._keep(name, data, digest)
        except _NO_BUCKET:
            await ensure_streams(self._js, self._replicas, self._wall)
            await self._keep(name, data, digest)
        reference = Reference(BUCKET, name, len(data), digest.hex())
        envelope = {field: body[field] for field in ReferenceMessage.__struct_fields__[:-1]}
        return _encode(ReferenceMessage(**envelope, payload_ref=reference))

    async def resolve(self, data: bytes) -> bytes:
        """The whole body that the message `data` refers to.

        Raises PayloadGone when it is not there or not what was put, nats errors when the server
        cannot answer.
        """
        reference = _message.decode(data).payload_ref
        if reference.bucket != BUCKET:
            raise PayloadGone(f"its payload is in a bucket {reference.bucket!r}, not {BUCKET}")
        # Any replica answers a direct get, one that lags behind as well: what it does not have, the
        # leader is asked for.
        try:
            return await self._read(reference, direct=True)
        except (PayloadGone, nats.errors.NoRespondersError):
            return await self._read(reference, direct=False)

    async def remove(self, name: str) -> bool:
        """Take out the object of this name and what broken attempts left of it.  False: there was
        none.  Raises nats errors."""
        chunks = await self._purge(f"{_chunks(name)}.>")
        described = await self._purge(_meta(name))
        return chunks + described > 0

    async def _keep(self, name: str, data: bytes, digest: bytes) -> None:
        """Chunks first, then the description that names them, then what it replaces goes."""
        old = await self._described(name)
        if old is None:
            await self._purge(f"{_chunks(name)}.>")  # what a broken attempt left
        elif self._serves(old, data, digest):
            return
        nuid = f"{_token(name)}.{secrets.token_hex(8)}"
        description = {
            "name": name,
            "bucket": BUCKET,
            "nuid": nuid,
            "size": len(data),
            "chunks": await self._upload(f"{_CHUNKS}.{nuid}", data),
            "digest": _digest_field(digest),
            "mtime": datetime.fromtimestamp(self._wall(), UTC),
            "options": {"max_chunk_size": CHUNK_BYTES},
        }
        await self._js.publish(_meta(name), _encode(description), headers={"Nats-Rollup": "sub"})
        if old is not None:
            await self._purge(f"{_CHUNKS}.{old.nuid}")

    def _serves(self, old: _Description, data: bytes, digest: bytes) -> bool:
        same = (old.digest, old.size) == (_digest_field(digest), len(data))
        return same and self._wall() - old.stored_at < FRESH_S

    async def _described(self, name: str) -> _Description | None:
        """What the leader has of it; None: nothing that counts."""
        try:
            message = await self._js.get_last_msg(PAYLOADS.name, _meta(name))
            description = _description.decode(message.data or b"")
        except (nats.js.errors.NotFoundError, msgspec.DecodeError):
            return None
        if description.deleted or not description.nuid:
            return None
        stored_at = message.time.timestamp() if message.time else 0.0
        return msgspec.structs.replace(description, stored_at=stored_at)

    async def _upload(self, subject: str, data: bytes) -> int:
        """Publish `data` in chunks, in order; how many.  Raises nats errors."""
        size = min(CHUNK_BYTES, self._js._nc.max_payload - HEADER_BYTES)
        offsets = range(0, len(data), size)
        stored: list[int] = []
        for start in range(0, len(offsets), WINDOW):
            chunks = (data[at : at + size] for at in offsets[start : start + WINDOW])
            stored += await self._publish(subject, chunks)
        if stored != sorted(stored):
            raise nats.errors.Error("the chunks of a payload were stored out of order")
        return len(offsets)

    async def _publish(self, subject: str, chunks: Iterable[bytes]) -> list[int]:
        """Their sequences, once all of them are acked."""
        publishing = (self._js.publish(subject, chunk, stream=PAYLOADS.name) for chunk in chunks)
        acks = await asyncio.gather(*publishing, return_exceptions=True)
        for ack in acks:
            if isinstance(ack, nats.js.errors.APIError):
                await self._purge(subject)  # full: what it did take must not stay in the way
            if isinstance(ack, BaseException):
                raise ack
        return [ack.seq for ack in acks if not isinstance(ack, BaseException)]

    async def _read(self, reference: Reference, *, direct: bool) -> bytes:
        """Raises PayloadGone, nats errors."""
        whole, seen = io.BytesIO(), hashlib.sha256()
        try:
            message = await self._js.get_last_msg(
                PAYLOADS.name, _meta(reference.object), direct=direct
            )
            nuid = _description.decode(message.data or b"").nuid
            sequence = 1
            while whole.tell() < reference.size:
                message = await self._js.get_msg(
                    PAYLOADS.name, sequence, f"{_CHUNKS}.{nuid}", direct=direct, next=True
                )
                chunk = message.data or b""
                whole.write(chunk)
                seen.update(chunk)
                sequence = (message.seq or 0) + 1
        except nats.js.errors.NotFoundError as exc:
            raise PayloadGone(
                f"its payload {reference.object} is not in the bucket {BUCKET} any more"
            ) from exc
        except msgspec.DecodeError as exc:
            raise PayloadGone(f"its payload {reference.object} is damaged") from exc
        if whole.tell() != reference.size or seen.hexdigest() != reference.sha256:
            raise PayloadGone(f"its payload {reference.object} is damaged")
        return whole.getvalue()

    async def _purge(self, subject: str) -> int:
        """How many messages of `subject` there were."""
        what = f"STREAM.PURGE.{PAYLOADS.name}"
        try:
            return int((await request(self._js, what, {"filter": subject})).get("purged", 0))
        except nats.js.errors.NotFoundError:
            return 0


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _digest_field(digest: bytes) -> str:
    return f"SHA-256={urlsafe_b64encode(digest).decode()}"


def _meta(name: str) -> str:
    return f"$O.{BUCKET}.M.{urlsafe_b64encode(name.encode()).decode()}"


def _token(name: str) -> str:
    """The same for the same object, so that all of it is found."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def _chunks(name: str) -> str:
    return f"{_CHUNKS}.{_token(name)}"
