-- At which score did the server say that its norm filter rejects?
-- Params: $run. One row; null where it has no such filter.
SELECT CAST(strategy ->> '$.filters[0].threshold' AS DOUBLE) AS threshold
FROM runs WHERE run = $run LIMIT 1;
