-- How many single updates went into a run's models, and how large is one?
-- Params: $run. One row: updates in the means of all rounds (null without a round), and the numbers
-- in one update (null without a layout).
SELECT
    (SELECT sum(cohort_size) FROM current_rounds WHERE run = $run) AS updates,
    (SELECT elements FROM schemas WHERE run = $run ORDER BY seq DESC LIMIT 1) AS elements;
