-- Which model did every round end with?
-- Params: $run. One row a round, oldest first.
SELECT round, post_digest
FROM current_rounds
WHERE run = $run
ORDER BY round;
