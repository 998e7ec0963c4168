-- What was said, once: agents send the whole conversation again with every turn.
CREATE TABLE message_contents (
    hash bytea PRIMARY KEY,                    -- sha256 of the message without its role
    content text NOT NULL,                     -- what a person would read of it
    message jsonb,                             -- as sent, where that is more than a text
    created_at timestamptz NOT NULL DEFAULT now()
);

-- One row a message; the last of an exchange is its answer and alone has a `detail`.
CREATE TABLE chat_history (
    trace_id text NOT NULL,
    seq integer NOT NULL,                      -- from 0, as sent
    role text NOT NULL,
    content_hash bytea NOT NULL,               -- of message_contents
    status text NOT NULL,                      -- of the exchange: finished | failed | cancelled
    finish_reason text,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    stream_sequence bigint NOT NULL,           -- the order within a conversation
    detail jsonb,                              -- route, backend, attempts, tokens, times, error
    created_at timestamptz NOT NULL,
    PRIMARY KEY (trace_id, seq)
);

CREATE INDEX chat_history_correlation ON chat_history (correlation_id) WHERE detail IS NOT NULL;
CREATE INDEX chat_history_conversation ON chat_history (conversation_id, stream_sequence)
    WHERE detail IS NOT NULL;

-- One row per exchange that was answered with 200 and finished.
CREATE TABLE chat_pairs (
    trace_id text PRIMARY KEY,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    prompt text NOT NULL,                      -- the last user turn
    response text NOT NULL,                    -- empty where the answer is tool calls alone
    model text NOT NULL,
    backend text NOT NULL,
    route text NOT NULL,
    input_tokens bigint,
    output_tokens bigint,
    finish_reason text,
    tool_calls jsonb,
    project text NOT NULL,
    duration_s double precision,
    time_to_first_token_s double precision,
    retrieval jsonb,
    embedding vector(256),
    embedding_model text,                      -- what made `embedding`
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE INDEX chat_pairs_correlation ON chat_pairs (correlation_id);
CREATE INDEX chat_pairs_conversation ON chat_pairs (conversation_id, stream_sequence);

-- Messages that cannot be written, as they were, with the reason.
CREATE TABLE dead_letters (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    stream text NOT NULL,
    stream_sequence bigint NOT NULL,
    subject text NOT NULL,
    event_id text NOT NULL,
    trace_id text NOT NULL,
    reason text NOT NULL,
    deliveries integer NOT NULL,
    payload bytea NOT NULL,
    payload_digest bytea NOT NULL,             -- a stream made anew counts from 1 again
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (stream, stream_sequence, payload_digest)
);

CREATE INDEX dead_letters_trace ON dead_letters (trace_id);
