-- What callers said of an answer.  The newest of an exchange and key counts.  Whoever knows the id
-- of an exchange may rate it: `key_name` beside that of its pair tells who did.
CREATE TABLE feedback (
    event_id text PRIMARY KEY,
    trace_id text NOT NULL,                    -- of the exchange that is rated
    feedback_trace_id text NOT NULL,           -- of the request that brought it, as the next two
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    rating integer NOT NULL,                   -- -5 (bad) to 5 (good)
    comment text NOT NULL,                     -- empty under [privacy] metadata
    project text NOT NULL,
    key_name text NOT NULL,                    -- who rated: counts where it is who asked
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL
);

CREATE INDEX feedback_trace ON feedback (trace_id);
CREATE INDEX feedback_request ON feedback (feedback_trace_id);
CREATE INDEX feedback_correlation ON feedback (correlation_id);
CREATE INDEX feedback_created ON feedback USING brin (created_at) WITH (autosummarize = on);

ALTER TABLE chat_pairs ADD COLUMN key_name text NOT NULL DEFAULT '';

-- Pairs that wait for their vector.  One without a text gets none: its `embedding_model` is empty.
CREATE INDEX chat_pairs_waiting ON chat_pairs (stream_sequence) WHERE embedding_model IS NULL;

-- Which stretch of a subject a Dagster run handled: `sequences` of PIPELINE are contiguous within
-- the subject, so that whoever knows the sequence of an event finds its runs.
CREATE TABLE pipeline_runs (
    run_id text NOT NULL,
    asset text NOT NULL,
    job text NOT NULL,
    subject text NOT NULL,
    sequences int8multirange NOT NULL,
    oldest timestamptz NOT NULL,               -- its events occurred between these: a stream made
    newest timestamptz NOT NULL,               -- anew counts from 1 again; infinite: not told
    events bigint NOT NULL,
    inserted bigint NOT NULL,                  -- rows that were not there before
    offered bigint NOT NULL,                   -- rows that its events are
    began_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), -- when it was last added to
    PRIMARY KEY (run_id, asset, subject)
);

CREATE INDEX pipeline_runs_sequences ON pipeline_runs USING gist (sequences);
CREATE INDEX pipeline_runs_created ON pipeline_runs USING brin (created_at)
    WITH (autosummarize = on);

-- The newest exchanges, and those since a time: one entry an exchange.
CREATE INDEX chat_history_newest ON chat_history (created_at) WHERE detail IS NOT NULL;

-- Else they know new rows after the next vacuum only, and of a large table that is days later: until
-- then a look at the last hour would read all that came since.
ALTER INDEX chat_history_created SET (autosummarize = on);
ALTER INDEX chat_pairs_created SET (autosummarize = on);
ALTER INDEX embedding_events_created SET (autosummarize = on);
ALTER INDEX retrieve_events_created SET (autosummarize = on);
ALTER INDEX compose_events_created SET (autosummarize = on);
ALTER INDEX flow_lineage_created SET (autosummarize = on);
ALTER INDEX tool_calls_created SET (autosummarize = on);
ALTER INDEX tool_results_created SET (autosummarize = on);

-- All events of a chat, one row each, as they are now: what comes late, is forgotten or has outlived
-- its retention shows at once.  `embedding` is that of the pair.  Whoever only embeds has no chat: of
-- such an exchange embedding_events and flow_lineage are all there is.
CREATE VIEW knowledge_events AS
SELECT
    h.trace_id, h.correlation_id, h.conversation_id, h.status, h.created_at, h.stream_sequence,
    p.prompt, p.response, p.model, p.backend, p.project, p.embedding, p.embedding_model,
    jsonb_build_object(
        'chat', h.detail,
        'embedding', coalesce((
            SELECT jsonb_agg(to_jsonb(e) ORDER BY e.event_id)
            FROM embedding_events e WHERE e.trace_id = h.trace_id), '[]'),
        'retrieve', coalesce((
            SELECT jsonb_agg(to_jsonb(r) ORDER BY r.event_id)
            FROM retrieve_events r WHERE r.trace_id = h.trace_id), '[]'),
        'compose', coalesce((
            SELECT jsonb_agg(to_jsonb(c) ORDER BY c.event_id)
            FROM compose_events c WHERE c.trace_id = h.trace_id), '[]'),
        'flow_lineage', coalesce((
            SELECT jsonb_agg(to_jsonb(f) ORDER BY f.node_index)
            FROM flow_lineage f WHERE f.trace_id = h.trace_id), '[]'),
        'tool_call', coalesce((
            SELECT jsonb_agg(to_jsonb(t) - 'id_key' - 'call_key' ORDER BY t.event_id)
            FROM tool_calls t WHERE t.trace_id = h.trace_id), '[]'),
        'tool_result', coalesce((
            SELECT jsonb_agg(to_jsonb(t) - 'id_key' - 'call_key' ORDER BY t.event_id)
            FROM tool_results t WHERE t.trace_id = h.trace_id), '[]'),
        'feedback', coalesce((
            SELECT jsonb_agg(to_jsonb(b) ORDER BY b.stream_sequence)
            FROM feedback b WHERE b.trace_id = h.trace_id), '[]')
    ) AS events
FROM chat_history h LEFT JOIN chat_pairs p USING (trace_id)
WHERE h.detail IS NOT NULL;
