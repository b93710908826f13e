-- Which alarms were raised, and what did somebody do about each?
-- Params: $run (null for the whole case), $key (the beginning of a key; '' for any).
-- One row an alarm, oldest round first. An alarm rests by itself until the run reaches a round, or
-- because of the round at which it was raised; who acknowledged it first is who answers for it.
WITH ends AS (
    SELECT run, max(round) AS last_round FROM rounds GROUP BY run
), answered AS (
    SELECT
        run, alarm, count(*) AS times, arg_min(actor, seq) AS actor, arg_min(note, seq) AS note
    FROM alarm_acts WHERE kind = 'acknowledged' GROUP BY run, alarm
), resting AS (
    SELECT
        a.run, a.key, max(s.until_round) AS until_round, arg_max(s.actor, s.seq) AS actor,
        arg_max(s.note, s.seq) AS note
    FROM alarms a
    LEFT JOIN ends e ON e.run = a.run
    JOIN alarm_acts s ON s.run = a.run AND s.kind = 'silenced' AND (
        (s.alarm = a.key AND coalesce(e.last_round, -1) < s.until_round)
        OR (
            s.detector = a.detector
            AND (s.direction_name IS NULL OR s.direction_name = a.direction_name)
            AND a.round >= s.from_round AND a.round < s.until_round
        )
    )
    GROUP BY a.run, a.key
)
SELECT
    a.key, a.run, a.round, a.detector, a.version, a.chart, a.direction, a.direction_name,
    a.score, a.threshold, a.false_alarm_rate, a.budget, a.evidence,
    CASE
        WHEN w.times IS NOT NULL THEN 'acknowledged'
        WHEN r.until_round IS NOT NULL THEN 'silenced'
        ELSE 'raised'
    END AS state,
    w.actor AS acknowledged_by, w.note AS acknowledged_note,
    r.actor AS silenced_by, r.note AS silenced_note, r.until_round AS silenced_until,
    a.run || '/' || a.producer || '/' || a.seq AS event
FROM alarms a
LEFT JOIN answered w ON w.run = a.run AND w.alarm = a.key
LEFT JOIN resting r ON r.run = a.run AND r.key = a.key
WHERE ($run IS NULL OR a.run = $run) AND starts_with(a.key, $key)
ORDER BY a.run, a.round, a.detector, a.chart, a.key;
