-- Which steps lead from the first recorded model to the last, and where do their bytes lie?
-- Params: $run. One row a round, oldest first.
SELECT round, producer, segment, row, delta_bytes, patch_offset, patch_bytes,
       schema_digest, pre_digest, post_digest, broadcast_digest
FROM current_rounds
WHERE run = $run
ORDER BY round;
