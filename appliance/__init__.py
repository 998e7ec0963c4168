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
 9. `domain/chat/bounded.py`            a stream within its limits: held, written, ended in band
    `transport/streaming.py`            its frames on their way to the client
10. `domain/events/exchange.py`         the record of the exchange, finished, failed or cancelled
    `infra/spool/spool.py`              kept in one write, before its last frame leaves

Beside it, on other paths:

    `domain/responses/service.py`       Responses: made, stored, read, continued, cancelled
    `domain/responses/production.py`    one response, its row whole before its last frame leaves
    `transport/responses.py`            its routes; `transport/responses_socket.py` its WebSocket
    `transport/ollama.py`               what Ollama's clients ask beside a chat
    `domain/moderation/service.py`      texts scored by category
    `domain/rerank/service.py`          documents in the order in which they answer

Behind the answer, in processes and tasks no request waits for:

11. `infra/nats/shipper/shipper.py`     the gateway's own task: from the spool to JetStream
    `domain/events/topics.py`           which events a record becomes
    `infra/nats/shipper/sender.py`      what is sent when; an ack of every event frees the record
    `infra/nats/streams.py`             the streams, as they must be
12. `entrypoints/consumer.py`           another process: from JetStream to PostgreSQL
    `infra/nats/consumer/worker.py`     one subject: pull a batch, write it, ack after the commit
    `infra/nats/consumer/settler.py`    a batch becomes rows: held, written, acked or set aside
    `infra/postgres/writers/base.py`    one transaction a batch; what cannot be written is set aside
    `infra/postgres/dead_letters.py`    where that is, until it is replayed
13. `pipelines/definitions.py`          the other driver: what Dagster runs, of the same writers
    `pipelines/table.py`                a row a subject: its sensor, job and asset
    `infra/nats/consumer/drain.py`      what a run does: everything that waits, then it ends
    `pipelines/launcher.py`             who runs it: a child of a warm process
    `infra/datasets/export.py`          pairs become training data
14. `cli/trace.py`                      all of it again, by either id of the exchange

Where things are added, one line in one table each: an API surface in `presentation/surface.py`, a
backend in `infra/backends/__init__.py`, an event topic in `domain/events/topics.py` (one that
becomes rows in `domain/events/durables.py`, `infra/postgres/writers/__init__.py` and
`pipelines/table.py`, too), a role in `entrypoints/__init__.py`, a command in `cli/__init__.py`.
"""
