-- What did ingest refuse or miss that cannot be seen in any segment?
-- Params: $run, or NULL for all runs. One row a finding; a range that Kafka lost has no run.
SELECT kind, run, round, detail
FROM findings
WHERE kind IN ('equivocation', 'lost_range', 'topic_recreated')
  AND ($run IS NULL OR run = $run OR run IS NULL)
ORDER BY run, round, kind, detail;
