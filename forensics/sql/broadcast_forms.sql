-- In which form do devices get a run's models? float32 is the master weights themselves.
-- Params: $run. One row a form; more than one where a run was opened again in another form.
SELECT DISTINCT broadcast
FROM runs
WHERE run = $run
ORDER BY broadcast;
