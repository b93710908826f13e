-- Where does one event lie?
-- Params: $run, $producer, $seq. At most one row.
SELECT run, producer, seq, type, time, digest, status, segment, heads_offset, row, origin
FROM events
WHERE run = $run AND producer = $producer AND seq = $seq
LIMIT 1;
