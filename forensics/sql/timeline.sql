-- What is on record about a run besides its ordinary rounds?
-- Params: $run. One row an entry: round (or t), kind, title.
-- Cohorts are told as stretches of rounds; where there are more than ten, as one.
WITH sealed AS (
    SELECT DISTINCT rule, round FROM cohorts WHERE run = $run
), stretches AS (
    SELECT
        rule, round,
        round - row_number() OVER (PARTITION BY rule ORDER BY round) AS stretch
    FROM sealed
), counted AS (
    SELECT rule, count(DISTINCT stretch) > 10 AS many FROM stretches GROUP BY rule
), told AS (
    SELECT rule, count(*) AS cohorts, min(round) AS first, max(round) AS last
    FROM stretches JOIN counted USING (rule)
    GROUP BY rule, CASE WHEN many THEN NULL ELSE stretch END
)
SELECT 0 AS round, 'opened' AS kind, 'recording began, by ' || framework AS title
FROM runs WHERE run = $run
UNION ALL
SELECT round, 'model', format('whole model {:,} stored by the recorder', round)
FROM geneses WHERE run = $run
UNION ALL
SELECT
    coalesce(shipped_at, round), 'release',
    'released as ' || version || ' (' || channel || ')'
    || CASE WHEN shipped_at > round THEN format(': model {:,}, again', round) ELSE '' END
    || coalesce(', says ' || actor, '')
FROM releases WHERE run = $run
UNION ALL
SELECT round, 'failed', 'attempt ' || attempt || ' failed: ' || reason
FROM round_failures WHERE run = $run
UNION ALL
SELECT coalesce(round, 0), 'finding', kind || ': ' || detail
FROM findings WHERE run = $run
UNION ALL
SELECT min(round), 'audits',
       format('{:,} sampled answers, of models {:,} to {:,}', count(*), min(round), max(round))
FROM audits WHERE run = $run HAVING count(*) > 0
UNION ALL
SELECT first, 'cohorts',
       format('{:,} cohorts sealed, of rounds {:,} to {:,} ({})', cohorts, first, last, rule)
FROM told
UNION ALL
SELECT round, 'alarm',
       format('{} ({}): {:.4g} against {:.4g}', left(key, 12), detector, score, threshold)
       || ', chart ' || chart || coalesce(', along ' || direction_name, '')
FROM alarms WHERE run = $run
UNION ALL
SELECT said_at, kind,
       CASE
           WHEN alarm IS NOT NULL THEN 'alarm ' || left(alarm, 12)
           ELSE detector || coalesce(' along ' || direction_name, '')
       END
       || CASE
           WHEN kind = 'acknowledged' THEN ' acknowledged'
           WHEN alarm IS NOT NULL THEN format(' silenced until round {:,}', until_round)
           ELSE format(' silenced for rounds {:,} to {:,}', from_round, until_round - 1)
       END
       || ' by ' || actor || CASE WHEN note = '' THEN '' ELSE ': ' || note END
FROM alarm_acts WHERE run = $run
UNION ALL
SELECT said_at, 'erased',
       format('{:,} text{} of {} erased', texts, CASE WHEN texts = 1 THEN '' ELSE 's' END, from_producer)
       || CASE
           WHEN before_round IS NULL THEN ''
           ELSE format(', of models before {:,},', before_round)
       END
       || ' by ' || actor || CASE WHEN note = '' THEN '' ELSE ': ' || note END
FROM erasures WHERE run = $run
UNION ALL
SELECT max(round), 'last_round', format('last recorded round; the model after it is {:,}', max(round) + 1)
FROM rounds WHERE run = $run HAVING count(*) > 0
ORDER BY round, kind, title;
