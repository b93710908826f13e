-- How far does a run go? First and last round, and the number of its events.
-- Params: $run. One row; the rounds are null where none was committed.
SELECT
    (SELECT min(round) FROM rounds WHERE run = $run) AS first_round,
    (SELECT max(round) FROM rounds WHERE run = $run) AS last_round,
    (SELECT count(*) FROM events WHERE run = $run) AS events;
