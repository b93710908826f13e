-- Which tensors, architecture and words has a run's model?
-- Params: $run. One row for each recorded layout, the latest last.
SELECT digest, architecture, config, layout, texts_blob
FROM schemas
WHERE run = $run
ORDER BY seq;
