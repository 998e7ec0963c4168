-- Every table of events: one row an event (or a node, a call, a result of it), unique on its key, so
-- that writing it again changes nothing.  `stream_sequence` gives the order within a conversation.

CREATE TABLE embedding_events (
    event_id text PRIMARY KEY,
    trace_id text NOT NULL,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    purpose text NOT NULL,                     -- request | query
    request_model text NOT NULL,
    model text NOT NULL,                       -- what made the vectors
    provider text NOT NULL,
    backend text NOT NULL,
    dimensions bigint,
    input_count integer NOT NULL,
    input_tokens bigint,
    texts jsonb NOT NULL,                      -- an array; empty texts under [privacy] metadata
    status text NOT NULL,
    error_type text NOT NULL,
    error_message text NOT NULL,
    duration_s double precision,
    project text NOT NULL,
    key_name text NOT NULL,
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE retrieve_events (
    event_id text PRIMARY KEY,
    trace_id text NOT NULL,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    workspace text NOT NULL,
    query text NOT NULL,
    model text NOT NULL,                       -- of the query's vector; empty when there is none
    hits jsonb NOT NULL,                       -- all that was found: document, chunk, score, tokens, cut
    found_count integer NOT NULL,
    hit_count integer NOT NULL,                -- of them, injected
    best_score double precision,
    min_score double precision NOT NULL,
    hit_limit integer NOT NULL,
    degraded text NOT NULL,
    duration_s double precision,
    project text NOT NULL,
    key_name text NOT NULL,
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE TABLE compose_events (
    event_id text PRIMARY KEY,
    trace_id text NOT NULL,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    workspace text NOT NULL,
    context_window bigint NOT NULL,            -- tokens
    room_tokens bigint NOT NULL,
    used_tokens bigint NOT NULL,
    injected jsonb NOT NULL,                   -- document, chunk, score, tokens
    cut jsonb NOT NULL,                        -- and reason
    messages_before integer NOT NULL,
    messages_after integer NOT NULL,
    dropped jsonb NOT NULL,
    degraded text NOT NULL,
    project text NOT NULL,
    key_name text NOT NULL,
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL
);

-- One row a node of an exchange's graph; `parents` are node ids of the same trace.
CREATE TABLE flow_lineage (
    trace_id text NOT NULL,
    node_id text NOT NULL,
    node_index integer NOT NULL,               -- parents come before children
    event_id text NOT NULL,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    kind text NOT NULL,                        -- request | embedding | retrieve | compose | tool_result | llm | tool | answer
    name text NOT NULL,
    parents text[] NOT NULL,
    status text NOT NULL,
    began_s double precision,
    duration_s double precision,
    detail jsonb NOT NULL,
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (trace_id, node_id)
);

-- What models asked for, and what the tools said once a later request brought it.
CREATE TABLE tool_calls (
    event_id text PRIMARY KEY,
    trace_id text NOT NULL,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    call_index integer NOT NULL,
    call_id text NOT NULL,                     -- the backend's; some repeat it
    name text NOT NULL,
    arguments text NOT NULL,                   -- JSON as the model wrote it
    id_key bytea NOT NULL,                     -- sha256 of key_name and call_id
    call_key bytea NOT NULL,                   -- of these, name and what arguments mean
    request_model text NOT NULL,
    model text NOT NULL,
    backend text NOT NULL,
    status text NOT NULL,                      -- of the exchange
    result text,
    result_is_error boolean,
    result_trace_id text,                      -- of the exchange that brought it
    result_at timestamptz,
    project text NOT NULL,
    key_name text NOT NULL,
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL
);

-- Results as they came; `call_event_id` is the call it was put to, once both are here.
CREATE TABLE tool_results (
    event_id text PRIMARY KEY,
    trace_id text NOT NULL,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    call_id text NOT NULL,
    name text NOT NULL,
    arguments text NOT NULL,
    id_key bytea NOT NULL,
    call_key bytea NOT NULL,
    content text NOT NULL,
    is_error boolean NOT NULL,
    call_event_id text,
    project text NOT NULL,
    key_name text NOT NULL,
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL
);

-- A result and its call have the same keys.  Some servers repeat their ids: the newest count.
CREATE INDEX tool_calls_id ON tool_calls (id_key, stream_sequence);
CREATE INDEX tool_results_id ON tool_results (id_key, stream_sequence);

CREATE INDEX tool_calls_result ON tool_calls (result_trace_id) WHERE result_trace_id IS NOT NULL;

-- sha256 of every id somebody asked to forget: what was asked under it before becomes no row.
CREATE TABLE forgotten (
    digest bytea PRIMARY KEY,
    forgotten_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX embedding_events_trace ON embedding_events (trace_id);
CREATE INDEX retrieve_events_trace ON retrieve_events (trace_id);
CREATE INDEX compose_events_trace ON compose_events (trace_id);
CREATE INDEX tool_calls_trace ON tool_calls (trace_id);
CREATE INDEX tool_results_trace ON tool_results (trace_id);
CREATE INDEX flow_lineage_correlation ON flow_lineage (correlation_id) WHERE node_id = 'request';
CREATE INDEX chat_history_content ON chat_history (content_hash);

-- For retention: rows come in the order of their time, and a BRIN index of that costs next to nothing.
CREATE INDEX chat_history_created ON chat_history USING brin (created_at);
CREATE INDEX chat_pairs_created ON chat_pairs USING brin (created_at);
CREATE INDEX embedding_events_created ON embedding_events USING brin (created_at);
CREATE INDEX retrieve_events_created ON retrieve_events USING brin (created_at);
CREATE INDEX compose_events_created ON compose_events USING brin (created_at);
CREATE INDEX flow_lineage_created ON flow_lineage USING brin (created_at);
CREATE INDEX tool_calls_created ON tool_calls USING brin (created_at);
CREATE INDEX tool_results_created ON tool_results USING brin (created_at);
