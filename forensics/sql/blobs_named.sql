-- Which blobs does the record name, and what is read from each?
-- Params: none. One row for each use of a blob; `what` continues "it holds …".
SELECT weights_blob AS blob, run, 'W_' || round || ' of run ' || run AS what
FROM geneses WHERE weights_blob IS NOT NULL
UNION ALL
SELECT texts_blob, run, 'the label texts of run ' || run
FROM schemas WHERE texts_blob IS NOT NULL
UNION ALL
SELECT blob, run, 'the probe set ' || name || ' of run ' || run
FROM probe_sets
CROSS JOIN unnest([inputs_blob, labels_blob, groups_blob, about_blob]) AS named(blob)
WHERE blob IS NOT NULL
ORDER BY blob, run, what;
