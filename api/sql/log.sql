-- What was recorded, newest first?
-- Params: $run; $producer, $type (null for any); $before (a cursor: events of a lower rank only);
-- $first, $last (rounds, both inside, null for any event); $limit.
WITH ranked AS (
    SELECT
        row_number() OVER (ORDER BY producer, seq) AS rank,
        producer, seq, type, time, digest, status
    FROM events WHERE run = $run
), about AS (
    SELECT producer, seq, round, cohort_size, delta_norm FROM rounds WHERE run = $run
    UNION ALL
    SELECT producer, seq, round, NULL, NULL FROM audits WHERE run = $run
    UNION ALL
    SELECT producer, seq, round, cohort_size, NULL FROM round_failures WHERE run = $run
    UNION ALL
    SELECT producer, seq, round, NULL, NULL FROM geneses WHERE run = $run
    UNION ALL
    SELECT producer, seq, round, NULL, NULL FROM releases WHERE run = $run
    UNION ALL
    SELECT producer, seq, round, NULL, NULL FROM snapshots WHERE run = $run
    UNION ALL
    SELECT producer, seq, round, NULL, NULL FROM cohorts WHERE run = $run
    UNION ALL
    SELECT producer, seq, round, NULL, NULL FROM alarms WHERE run = $run
    UNION ALL
    SELECT producer, seq, said_at, NULL, NULL FROM alarm_acts WHERE run = $run
    UNION ALL
    SELECT producer, seq, said_at, NULL, NULL FROM erasures WHERE run = $run
)
SELECT
    rank, producer, seq, type, round, time, cohort_size, delta_norm, status, digest
FROM ranked LEFT JOIN about USING (producer, seq)
WHERE ($producer IS NULL OR producer = $producer)
    AND ($type IS NULL OR type = $type OR type LIKE 'fl.' || $type || '.v%')
    AND ($before IS NULL OR rank < $before)
    AND ($first IS NULL OR round BETWEEN $first AND $last)
ORDER BY rank DESC
LIMIT $limit;
