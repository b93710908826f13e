-- Of which models were answers sampled for people?
-- Params: $run. One row a model, oldest first.
SELECT DISTINCT round
FROM audits
WHERE run = $run
ORDER BY round;
