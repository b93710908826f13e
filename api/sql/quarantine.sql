-- What was refused, and why? And is the event part of the record by now: sent again, or tried again?
-- Params: $run (null for the whole case). One row a record; bytes in the log, and of these kept.
SELECT id, reason, detail, run, producer, seq, type, size AS bytes, kept, sha256, file, origin,
       partition, log_offset AS "offset",
       EXISTS (
           SELECT 1 FROM events e
           WHERE e.run = q.run AND e.producer = q.producer AND e.seq = q.seq
             AND e.digest = q.head_digest
       ) AS accepted
FROM quarantine q
WHERE $run IS NULL OR run = $run OR run IS NULL
ORDER BY run NULLS FIRST, partition, log_offset, id;
