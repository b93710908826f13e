-- How many alarms were raised in each run, and where in its log is the last of them?
-- One row for each run that has any.
SELECT
    run, count(*) AS alarms, min(round) AS first_round, max(round) AS last_round,
    max(seq) AS last_seq, max(time) AS time
FROM alarms
GROUP BY run
ORDER BY run;
