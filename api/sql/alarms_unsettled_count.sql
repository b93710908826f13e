-- How many alarms lie above the events up to which none is left to be told?
-- Params: $runs and $seqs, lists of one length, as in alarms_unsettled.sql. One row.
WITH settled AS (
    SELECT unnest(CAST($runs AS VARCHAR[])) AS run, unnest(CAST($seqs AS BIGINT[])) AS seq
)
SELECT count(*) AS alarms
FROM alarms a LEFT JOIN settled s ON s.run = a.run
WHERE a.seq > coalesce(s.seq, -1);
