-- What was refused, and why?
-- Params: $run (null for the whole case). One row a record.
SELECT id, reason, detail, run, producer, seq, type, size, kept, sha256, file, origin,
       partition, log_offset
FROM quarantine
WHERE $run IS NULL OR run = $run OR run IS NULL
ORDER BY run NULLS FIRST, partition, log_offset, id;
