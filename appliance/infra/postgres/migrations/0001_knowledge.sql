-- What was ingested.  A document is named by its path relative to what was ingested.
CREATE TABLE documents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workspace text NOT NULL,
    name text NOT NULL,
    digest text NOT NULL,                      -- sha256 of its bytes, hex
    size_bytes bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (workspace, name)
);

-- Its pieces.  `model` made the vector; vectors of two models are never compared.
CREATE TABLE document_chunks (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    document_id bigint NOT NULL REFERENCES documents (id) ON DELETE CASCADE,
    workspace text NOT NULL,
    chunk_index integer NOT NULL,
    content text NOT NULL,
    embedding vector(256) NOT NULL,
    model text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    content_words tsvector GENERATED ALWAYS AS (to_tsvector('english', content)) STORED,
    UNIQUE (document_id, chunk_index)
);

CREATE INDEX document_chunks_embedding ON document_chunks USING hnsw (embedding vector_cosine_ops);
CREATE INDEX document_chunks_content_words ON document_chunks USING gin (content_words);
-- A small workspace is searched exactly through this one; a large one through the graph.
CREATE INDEX document_chunks_workspace ON document_chunks (workspace, model);
