-- The shape of one number over the run, as the lowest and highest value of each pixel.
-- Params: $run, $metric (delta_norm, aggregate_norm, patched, cohort_size, noise_multiplier),
-- $first, $last (rounds, both inside), $bucket (rounds a pixel). One row a pixel, oldest first.
WITH chosen AS (
    SELECT round, CASE $metric
        WHEN 'delta_norm' THEN delta_norm
        WHEN 'aggregate_norm' THEN aggregate_norm
        WHEN 'patched' THEN patched
        WHEN 'cohort_size' THEN cohort_size
        WHEN 'noise_multiplier' THEN noise_multiplier
    END AS value
    FROM current_rounds
    WHERE run = $run AND round BETWEEN $first AND $last
)
SELECT
    min(round) AS first, max(round) AS last, count(value) AS n, min(value) AS low,
    max(value) AS high
FROM chosen
GROUP BY (round - $first) // $bucket
ORDER BY first;
