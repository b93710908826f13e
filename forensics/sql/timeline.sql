-- What is on record about a run besides its ordinary rounds?
-- Params: $run. One row an entry: round (or t), kind, title.
SELECT 0 AS round, 'opened' AS kind, 'recording began, by ' || framework AS title
FROM runs WHERE run = $run
UNION ALL
SELECT round, 'model', format('whole model {:,} stored by the recorder', round)
FROM geneses WHERE run = $run
UNION ALL
SELECT round, 'release', 'released as ' || version || ' (' || channel || ')'
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
SELECT max(round), 'last_round', format('last recorded round; the model after it is {:,}', max(round) + 1)
FROM rounds WHERE run = $run HAVING count(*) > 0
ORDER BY round, kind, title;
