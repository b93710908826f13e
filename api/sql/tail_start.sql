-- Behind which place do the last events of a run stand?
-- Params: $run; $last (how many of them are wanted, 0 for none).
SELECT coalesce(
    (SELECT min(rowid) - 1 FROM (
        SELECT rowid FROM events WHERE run = $run ORDER BY rowid DESC LIMIT $last
    )),
    (SELECT max(rowid) FROM events WHERE run = $run),
    -1
) AS place;
