-- Which events of a run came into the projection behind a place, in the order in which they came?
-- Params: $run; $after (a place, or -1 for all of them); $limit.
WITH page AS (
    SELECT rowid AS place, run, producer, seq, type, time, status, digest
    FROM events WHERE run = $run AND rowid > $after
    ORDER BY rowid
    LIMIT $limit
), about AS (
    SELECT producer, seq, round FROM rounds WHERE run = $run
    UNION ALL
    SELECT producer, seq, round FROM audits WHERE run = $run
    UNION ALL
    SELECT producer, seq, round FROM round_failures WHERE run = $run
    UNION ALL
    SELECT producer, seq, round FROM geneses WHERE run = $run
    UNION ALL
    SELECT producer, seq, round FROM releases WHERE run = $run
    UNION ALL
    SELECT producer, seq, round FROM snapshots WHERE run = $run
    UNION ALL
    SELECT producer, seq, round FROM cohorts WHERE run = $run
    UNION ALL
    SELECT producer, seq, round FROM alarms WHERE run = $run
    UNION ALL
    SELECT producer, seq, said_at FROM alarm_acts WHERE run = $run
)
SELECT page.place, page.producer, page.seq, page.type, about.round, page.time, page.status, page.digest
FROM page LEFT JOIN about USING (producer, seq)
ORDER BY page.place;
