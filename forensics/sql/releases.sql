-- Which models of a run were shipped, to whom, and how far had the run got by then?
-- Params: $run. One row a release, in the order in which they were shipped. `in_record`: whether the
-- digest is the one that the record names for that model, or for what devices run in its place.
SELECT
    version, round, channel, digest, actor,
    coalesce(shipped_at, round) AS since,
    EXISTS (
        SELECT 1 FROM current_rounds c
        WHERE c.run = $run AND c.round + 1 = r.round
            AND r.digest IN (c.post_digest, c.broadcast_digest)
    ) OR EXISTS (
        SELECT 1 FROM geneses g
        WHERE g.run = $run AND g.round = r.round AND g.digest = r.digest
    ) AS in_record,
    run || '/' || producer || '/' || seq AS event
FROM releases r
WHERE run = $run
ORDER BY since, producer, seq;
