-- Which alarms may not have been told yet, in the order of the log?
-- Params: $runs and $seqs, lists of one length: up to this event of that run none is left;
-- $after_run, $after_seq (behind this place only; '' and -1 for all), $limit.
WITH settled AS (
    SELECT unnest(CAST($runs AS VARCHAR[])) AS run, unnest(CAST($seqs AS BIGINT[])) AS seq
)
SELECT a.run, a.seq, a.key, a.time
FROM alarms a LEFT JOIN settled s ON s.run = a.run
WHERE a.seq > coalesce(s.seq, -1) AND (a.run, a.seq) > ($after_run, $after_seq)
ORDER BY a.run, a.seq
LIMIT $limit;
