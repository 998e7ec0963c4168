-- What clients had stored of POST /v1/responses.  `resource` and `input_items` are JSON as clients
-- see them, `events` the deflated frames of the stream; no row is ever changed once it is not live.
CREATE TABLE api_responses (
    id text PRIMARY KEY,                       -- resp_<trace id>
    trace_id text NOT NULL UNIQUE,
    correlation_id text NOT NULL,
    conversation_id text NOT NULL,
    key_name text NOT NULL,                    -- the owner; empty where nobody needs a key
    status text NOT NULL,
    model text NOT NULL,
    background boolean NOT NULL,
    previous_response_id text NOT NULL,        -- empty: it continues none
    resource bytea NOT NULL,
    input_items bytea NOT NULL,
    events bytea NOT NULL DEFAULT '',
    lease_until timestamptz,                   -- of a live one: null once it is whole
    cancel_asked boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL
);

CREATE INDEX api_responses_live ON api_responses (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX api_responses_correlation_id ON api_responses (correlation_id);
CREATE INDEX api_responses_conversation_id ON api_responses (conversation_id);
CREATE INDEX api_responses_created_at ON api_responses (created_at);

-- Deflated is as small as it gets: nobody need try again.
ALTER TABLE api_responses ALTER COLUMN events SET STORAGE EXTERNAL;
