"""agent-gateway appliance: one endpoint for your own models.

The tour: one chat request, top to bottom.

 1. `transport/app.py`                  every route, and the middleware around them
    `transport/middleware.py`           ids, access log, recovery, keys and origins
    `transport/disconnect.py`           a client that leaves cancels its request
 2. `transport/chat.py`                 the resource of every chat surface
 3. `presentation/openai_chat/decode.py`  the wire becomes one ChatRequest
 4. `domain/chat/service.py`            read this first: plan, augment, answer, record
    `domain/conversation/parts.py`      what its messages are made of
    `domain/chat/media.py`              images and files, fetched and inlined
    `domain/chat/knowledge.py`          knowledge: retrieve and inject
    `domain/chat/attempts.py`           retries and fallbacks
 5. `domain/routing/router.py`          from a name to the backends to try
 6. `infra/backends/__init__.py`        the kinds of backend, each only what differs
    `infra/dialects/openai_chat/client.py`  the client of OpenAI's wire
    `infra/http/client.py`              the HTTP client under it
 7. `domain/chat/parsers.py`            who reads a backend's answer: nobody, the chain, a signer
    `domain/parsing/chain.py`           tool calls and reasoning out of the text; all made canonical
    `domain/chat/reasoning.py`          reasoning signed for clients that hand it back
    `infra/dialects/failures.py`        what a backend gets wrong, in our words
 8. `presentation/openai_chat/encode.py`  deltas become the wire again
 9. `transport/streaming.py`            held headers, frames, comments, errors in band
10. `infra/spool/spool.py`              the record of the exchange, before its last frame
    `infra/nats/shipper/shipper.py`             from there to JetStream
    `entrypoints/consumer.py`           from there to PostgreSQL

Where things are added, one line in one table each: an API surface in `presentation/surface.py`, a
backend in `infra/backends/__init__.py`, an event topic in `domain/events/topics.py`, a role in
`entrypoints/__init__.py`, a command in `cli/__init__.py`.
"""
