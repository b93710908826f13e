-- What was found wrong with the record?
-- Params: $run (null for the whole case). One row a finding.
SELECT id, kind, run, producer, seq, round, detail, origin, log_offset
FROM findings
WHERE $run IS NULL OR run = $run OR run IS NULL
ORDER BY run NULLS FIRST, producer, seq, round, kind, id;
