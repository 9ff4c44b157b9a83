-- no transaction
-- What waits and runs (backlog, sweeper), and the rare statuses people list. Succeeded ones, nearly all, stay out.

CREATE INDEX CONCURRENTLY IF NOT EXISTS idx_workflows_status_created ON workflows (status, created_at)
    WHERE status IN ('queued', 'running', 'failed', 'cancelled');
