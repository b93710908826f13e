-- How many rounds would the server's filter on the aggregate's norm have rejected?
-- Params: $run, $threshold (in standard deviations), $from, $until (rounds, the last one outside).
-- One row; rounds without a score, as the filter warms up, are not counted.
SELECT
    count(*) AS judged,
    count(*) FILTER (WHERE CAST(defence_scores ->> 'norm' AS DOUBLE) > $threshold) AS rejected
FROM current_rounds
WHERE run = $run AND round >= $from AND round < $until AND defence_scores ->> 'norm' IS NOT NULL;
