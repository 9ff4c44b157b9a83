"""Every statement of the store, by name. Times are the database's `now()`.

Those that take arrays do a whole batch, as one transaction of one round trip: a row that does not match (a lost claim)
is missing from the result and disturbs no other.
"""

from typing import Final

from generation_service.adapters.postgres.database import Statement
from generation_service.adapters.postgres.queue import ENTRYPOINT, QUEUE_TABLE

CHANGED: Final = "generation_workflows"
"""Channel: payload is the ids of workflows that changed, one per line."""
CANCELS: Final = "generation_cancels"
"""Channel: payload is the id of a running workflow that is to stop."""


def _statement(name: str, sql: str) -> Statement:
    names = {"{queue}": QUEUE_TABLE, "{entrypoint}": ENTRYPOINT, "{changed}": CHANGED, "{cancels}": CANCELS}
    for placeholder, value in names.items():
        sql = sql.replace(placeholder, value)
    return Statement(name, sql)


_JOBS = """
    INSERT INTO {queue} (priority, entrypoint, payload, dedupe_key, status)
    SELECT 0, '{entrypoint}', convert_to(id, 'UTF8'), id, 'queued' FROM made
    ON CONFLICT DO NOTHING
"""
_TELL = "(SELECT count(pg_notify('{changed}', payload)) FROM unnest(%s::text[]) AS told(payload))"
_STEPS = """(
    SELECT json_agg(json_build_array(s.step_id, s.status, s.attempt, s.output, s.error))
    FROM workflow_steps s WHERE s.workflow_id = w.id
)"""
_RECORD = f"""
    SELECT w.id, w.definition, w.deadline_seconds, w.status, w.attempt, w.cancel_requested, w.failure,
        extract(epoch FROM w.created_at)::float8 AS created, extract(epoch FROM w.started_at)::float8 AS started,
        extract(epoch FROM w.finished_at)::float8 AS finished, {_STEPS} AS steps,
        (extract(epoch FROM w.created_at) * 1000000)::bigint AS created_micros
    FROM workflows w
"""  # noqa: S608 - of constants

SUBMIT: Final = _statement(
    "submit",
    f"""
    WITH made AS (
        INSERT INTO workflows
            (id, definition, status, attempt_limit, deadline_seconds, deadline_at, idempotency_key, fingerprint)
        SELECT id, definition, 'queued', $6, deadline, now() + deadline * interval '1 second', key, fingerprint
        FROM unnest($1::text[], $2::json[], $3::float8[], $4::bytea[], $5::bytea[])
            AS t(id, definition, deadline, key, fingerprint)
        ON CONFLICT DO NOTHING
        RETURNING id, created_at
    ), job AS ({_JOBS}), event AS (
        INSERT INTO workflow_events SELECT id, 1, 'workflow.queued', now(), '{{}}' FROM made
    )
    SELECT id, extract(epoch FROM created_at)::float8 AS created FROM made
    """,  # noqa: S608 - of constants
)
KNOWN: Final = _statement(
    "submit.known",
    "SELECT id, fingerprint FROM workflows WHERE idempotency_key = $1 OR id = $2 "
    "ORDER BY idempotency_key = $1 DESC NULLS LAST",
)
GET: Final = _statement("get", f"{_RECORD} WHERE w.id = $1")
PAGE: Final = _statement(
    "page",
    f"""
    {_RECORD}
    WHERE ($1::text IS NULL OR w.status = $1)
        AND ($2::bigint IS NULL OR (w.created_at, w.id) < ('epoch'::timestamptz + $2 * interval '1 microsecond', $3))
    ORDER BY w.created_at DESC, w.id DESC LIMIT $4
    """,
)
EVENTS: Final = _statement(
    "events",
    """
    SELECT number, kind, extract(epoch FROM at)::float8 AS at, data FROM workflow_events
    WHERE workflow_id = $1 AND number > $2 ORDER BY number LIMIT $3
    """,
)
CLAIM: Final = _statement(
    "claim",
    f"""
    WITH w AS (
        UPDATE workflows SET
            status = CASE WHEN attempt < attempt_limit THEN 'running' ELSE 'failed' END,
            attempt = CASE WHEN attempt < attempt_limit THEN attempt + 1 ELSE attempt END,
            started_at = CASE WHEN attempt < attempt_limit THEN now() ELSE started_at END,
            finished_at = CASE WHEN attempt < attempt_limit THEN NULL ELSE now() END,
            failure = CASE WHEN attempt < attempt_limit THEN NULL ELSE $3::json END,
            worker = $2,
            event_seq = event_seq + 1
        WHERE id = ANY($1::text[]) AND status IN ('queued', 'running')
        RETURNING *
    ), event AS (
        INSERT INTO workflow_events SELECT id, event_seq, 'workflow.' || status, now(),
            CASE WHEN status = 'running' THEN json_build_object('attempt', attempt)
                ELSE json_build_object('failure', failure) END
        FROM w
    )
    SELECT id, definition, deadline_seconds, status, attempt, cancel_requested,
        extract(epoch FROM deadline_at - now())::float8 AS remaining,
        extract(epoch FROM now() - queued_at)::float8 AS waited,
        CASE WHEN attempt > 1 THEN {_STEPS} END AS steps,
        {_TELL % "$4"} AS told
    FROM w
    """,  # noqa: S608 - of constants
)
# One row of $1 ... $5 is a workflow; $6 ... $11 are its steps and $12 ... $15 its events, by the position of their row.
WRITE: Final = _statement(
    "write",
    f"""
    WITH hit AS (
        UPDATE workflows w SET
            event_seq = w.event_seq + i.events,
            status = coalesce(i.ending, w.status),
            failure = i.failure,
            finished_at = CASE WHEN i.ending IS NOT NULL THEN now() END
        FROM unnest($1::text[], $2::int[], $3::int[], $4::text[], $5::json[])
            WITH ORDINALITY AS i(id, attempt, events, ending, failure, position)
        WHERE w.id = i.id AND w.attempt = i.attempt AND w.status = 'running'
        RETURNING i.position, w.id, w.event_seq - i.events AS base
    ), step AS (
        INSERT INTO workflow_steps (workflow_id, step_id, status, attempt, output, error)
        SELECT hit.id, c.step_id, c.status, c.attempt, c.output, c.error
        FROM unnest($6::int[], $7::text[], $8::text[], $9::int[], $10::json[], $11::json[])
            AS c(position, step_id, status, attempt, output, error) JOIN hit USING (position)
        ON CONFLICT (workflow_id, step_id) DO UPDATE
            SET status = excluded.status, attempt = excluded.attempt, output = excluded.output, error = excluded.error
    ), event AS (
        INSERT INTO workflow_events
        SELECT hit.id, hit.base + e.number, e.kind, now(), e.data
        FROM unnest($12::int[], $13::int[], $14::text[], $15::json[]) AS e(position, number, kind, data)
            JOIN hit USING (position)
    )
    SELECT position, {_TELL % "$16"} AS told FROM hit
    """,  # noqa: S608 - of constants
)
ENDED: Final = _statement("write.ended", "SELECT id, attempt, status FROM workflows WHERE id = ANY($1::text[])")
CANCEL: Final = _statement(
    "cancel",
    """
    WITH w AS (
        UPDATE workflows SET
            status = CASE status WHEN 'queued' THEN 'cancelled' ELSE status END,
            finished_at = CASE status WHEN 'queued' THEN now() END,
            failure = CASE status WHEN 'queued' THEN $2::json END,
            cancel_requested = true,
            event_seq = event_seq + 1
        WHERE id = $1 AND (status = 'queued' OR status = 'running' AND NOT cancel_requested)
        RETURNING id, status, event_seq, failure
    ), event AS (
        INSERT INTO workflow_events
        SELECT id, event_seq, CASE status WHEN 'cancelled' THEN 'workflow.cancelled' ELSE 'workflow.cancelling' END,
            now(), CASE status WHEN 'cancelled' THEN json_build_object('failure', failure) ELSE '{}'::json END
        FROM w
    )
    SELECT pg_notify('{changed}', id), CASE status WHEN 'running' THEN pg_notify('{cancels}', id) END FROM w
    """,
)
RETRY: Final = _statement(
    "retry",
    """
    WITH w AS (
        UPDATE workflows SET
            status = 'queued', queued_at = now(), deadline_at = now() + deadline_seconds * interval '1 second',
            finished_at = NULL, failure = NULL, cancel_requested = false, attempt_limit = attempt + $2,
            event_seq = event_seq + 1
        WHERE id = $1 AND status IN ('failed', 'cancelled')
        RETURNING id, event_seq
    ), event AS (
        INSERT INTO workflow_events SELECT id, event_seq, 'workflow.queued', now(), '{}' FROM w
    )
    SELECT pg_notify('{changed}', id) FROM w
    """,
)
HAND_BACK: Final = _statement(
    "hand_back",
    """
    WITH w AS (
        UPDATE workflows
        SET status = 'queued', worker = NULL, attempt_limit = attempt_limit + 1, event_seq = event_seq + 1
        WHERE id = $1 AND attempt = $2 AND status = 'running'
        RETURNING id, event_seq
    ), event AS (
        INSERT INTO workflow_events SELECT id, event_seq, 'workflow.queued', now(), '{}' FROM w
    )
    SELECT pg_notify('{changed}', id) FROM w
    """,
)
RESET_STEPS: Final = _statement(
    "reset_steps", "UPDATE workflow_steps SET status = 'queued' WHERE workflow_id = $1 AND status <> 'succeeded'"
)
# Two statements in one transaction: the old job's key must be free before the new one takes it. A new job, because
# pgqueuer deletes the old one by its id as soon as the handler returns.
DROP_JOB: Final = _statement("queue.drop", "DELETE FROM {queue} WHERE dedupe_key = $1")
ADD_JOB: Final = _statement("queue.add", f"WITH made AS (SELECT $1::text AS id) {_JOBS}")
BACKLOG: Final = _statement(
    "backlog",
    """
    WITH seen AS (
        INSERT INTO replicas VALUES ($1, now()) ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at
    )
    SELECT count(*) AS queued, coalesce(extract(epoch FROM now() - min(queued_at)), 0)::float8 AS oldest,
        (SELECT count(*) FROM replicas WHERE id <> $1 AND seen_at > now() - $2 * interval '1 second') AS others
    FROM workflows WHERE status = 'queued'
    """,
)
GOODBYE: Final = _statement("goodbye", "DELETE FROM replicas WHERE id = $1")
HEALTHY: Final = _statement("healthy", "SELECT 1")
