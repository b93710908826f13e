-- How far has a run got: which is its last model?
-- Params: $run. One row; 0 where neither a round nor a whole model was recorded.
SELECT greatest(
    coalesce((SELECT max(round) + 1 FROM rounds WHERE run = $run), 0),
    coalesce((SELECT max(round) FROM geneses WHERE run = $run), 0)
);
