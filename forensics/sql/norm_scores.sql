-- What did the server's norm filter say about every round, as recorded?
-- Params: $run. One row a round, oldest first; score is NULL while the filter was learning.
SELECT round, aggregate_norm AS norm, CAST(defence_scores ->> 'norm' AS DOUBLE) AS score
FROM current_rounds
WHERE run = $run
ORDER BY round;
