-- From which recorded whole models can folding begin?
-- Params: $run. One row for each recorded whole model, oldest first.
SELECT round, schema_digest, digest, weights_blob
FROM geneses
WHERE run = $run
ORDER BY round, seq;
