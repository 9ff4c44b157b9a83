-- Workflows, their steps and what happened to them.
-- JSON that came from users is kept as `json`, not `jsonb`: it may hold \u0000, which jsonb refuses.
-- There are no foreign keys: each row of a step or an event would pay for the check; housekeeping removes them together.

CREATE TABLE workflows (
    id text PRIMARY KEY,
    definition json NOT NULL,
    status text NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt integer NOT NULL DEFAULT 0,      -- the fence: a write of an older attempt changes nothing
    attempt_limit integer NOT NULL,          -- attempts after which the workflow counts as the cause of the crashes
    deadline_seconds double precision NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    queued_at timestamptz NOT NULL DEFAULT now(),  -- admission; moves with a retry
    deadline_at timestamptz NOT NULL,
    started_at timestamptz,
    finished_at timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    failure json,
    event_seq integer NOT NULL DEFAULT 1,    -- number of the last event
    worker text,                             -- replica of the last attempt
    idempotency_key bytea,                   -- a header: any bytes
    fingerprint bytea
) WITH (fillfactor = 70);                    -- a row is updated five times in its life

CREATE UNIQUE INDEX workflows_idempotency_key ON workflows (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX workflows_created ON workflows (created_at, id);

CREATE TABLE workflow_steps (
    workflow_id text NOT NULL,
    step_id text NOT NULL,
    status text NOT NULL CHECK (status IN ('queued', 'running', 'succeeded', 'failed', 'cancelled')),
    attempt integer NOT NULL,
    output json,
    error json,                              -- a JSON string
    PRIMARY KEY (workflow_id, step_id)
) WITH (fillfactor = 70);

CREATE TABLE workflow_events (
    workflow_id text NOT NULL,
    number integer NOT NULL,
    kind text NOT NULL,
    at timestamptz NOT NULL,
    data json NOT NULL,
    PRIMARY KEY (workflow_id, number)
);

CREATE TABLE replicas (
    id text PRIMARY KEY,
    seen_at timestamptz NOT NULL
) WITH (fillfactor = 50);                    -- updated every second

ALTER TABLE workflows SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE workflow_steps SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
