-- History of the performance figures, pruned by age. BRIN: rows come in the order of time, so a few pages of index
-- serve what a btree would need as much room as the table for.

CREATE TABLE performance_metrics (
    "timestamp" timestamptz NOT NULL DEFAULT now(),
    replica text NOT NULL,
    metric text NOT NULL,
    value double precision NOT NULL
);

CREATE INDEX idx_metrics_timestamp ON performance_metrics USING brin ("timestamp") WITH (pages_per_range = 16);
