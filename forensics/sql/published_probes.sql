-- Which evaluation data did the server publish for a run?
-- Params: $run, $role. One row a probe set, in the order of publication.
SELECT name, digest, n, width, inputs_blob, labels_blob, groups_blob, about_blob
FROM probe_sets
WHERE run = $run AND role = $role
ORDER BY seq;
