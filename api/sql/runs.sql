-- Which runs does the case hold, and how far does each go?
-- One row for each run that any event is about, in the order of their names.
WITH counted AS (
    SELECT run, count(*) AS events, min(time) AS first_time, max(time) AS last_time
    FROM events GROUP BY run
), committed AS (
    SELECT run, count(DISTINCT round) AS rounds, min(round) AS first_round, max(round) AS last_round
    FROM rounds GROUP BY run
), opened AS (
    SELECT run, framework, mechanism, visibility, seconds_per_round, broadcast, scenario_digest,
           parent, json_array_length(strata) AS strata
    FROM runs QUALIFY row_number() OVER (PARTITION BY run ORDER BY seq) = 1
), laid_out AS (
    SELECT run, architecture, elements
    FROM schemas QUALIFY row_number() OVER (PARTITION BY run ORDER BY seq DESC) = 1
), found AS (
    SELECT run, count(*) AS findings FROM findings GROUP BY run
), refused AS (
    SELECT run, count(*) AS quarantined FROM quarantine GROUP BY run
)
SELECT
    run, coalesce(rounds, 0) AS rounds, first_round, last_round, events,
    architecture, elements, framework, mechanism, visibility, strata, seconds_per_round,
    broadcast, scenario_digest, parent, first_time, last_time,
    coalesce(findings, 0) AS findings, coalesce(quarantined, 0) AS quarantined
FROM counted
LEFT JOIN committed USING (run)
LEFT JOIN opened USING (run)
LEFT JOIN laid_out USING (run)
LEFT JOIN found USING (run)
LEFT JOIN refused USING (run)
ORDER BY run;
