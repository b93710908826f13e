-- By which act were the words of one event erased?
-- Params: $run, $producer, $seq of the event. At most one row, the first act that holds for it.
SELECT run || '/' || producer || '/' || seq AS event, time, actor, authenticated, note
FROM erasures
WHERE run = $run AND from_producer = $producer AND $seq BETWEEN first_seq AND last_seq
ORDER BY seq
LIMIT 1;
