-- Which event committed a round?
-- Params: $run, $round. At most one row.
SELECT producer, seq FROM current_rounds WHERE run = $run AND round = $round;
