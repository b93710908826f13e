-- What is the newest committed round of the runs that grew last?
-- Params: $limit (runs).
SELECT run, max(round) AS round FROM rounds GROUP BY run ORDER BY max(rowid) DESC LIMIT $limit;
