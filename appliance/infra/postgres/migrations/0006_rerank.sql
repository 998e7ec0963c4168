-- What rerankers gave the documents they were sent: query × document × model, a row a score.  Texts
-- of documents are not kept: their sha256 tells the same one again.
CREATE TABLE rerank_scores (
    event_id text NOT NULL,
    document_index integer NOT NULL,           -- from 0, as the caller sent them
    trace_id text NOT NULL,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    request_model text NOT NULL,               -- what the caller asked for
    model text NOT NULL,                       -- what scored
    query text NOT NULL,                       -- empty under [privacy] metadata, as the next three
    query_hash text NOT NULL,                  -- sha256, hexadecimal
    document_hash text NOT NULL,
    document_name text NOT NULL,               -- empty where the caller gave none
    score double precision NOT NULL,           -- between 0 and 1
    rank integer NOT NULL,                     -- 1 is the best
    document_count integer NOT NULL,
    top_n integer,                             -- how many the caller wanted back; null: all
    project text NOT NULL,
    key_name text NOT NULL,
    stream_sequence bigint NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (event_id, document_index)
);

CREATE INDEX rerank_scores_trace ON rerank_scores (trace_id);
CREATE INDEX rerank_scores_query ON rerank_scores (query_hash, model);
CREATE INDEX rerank_scores_created ON rerank_scores USING brin (created_at)
    WITH (autosummarize = on);
