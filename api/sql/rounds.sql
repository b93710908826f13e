-- Every committed round of a run, complete: nothing is sampled here.
-- Params: $run, $first, $last (rounds, both inside), $limit. Oldest first.
SELECT
    round, time, producer, seq, attempt, cohort_size, weight, delta_norm, aggregate_norm, patched,
    finite, optimizer, learning_rate, noise_multiplier, defence_scores, pre_digest, post_digest,
    broadcast_digest
FROM current_rounds
WHERE run = $run AND round BETWEEN $first AND $last
ORDER BY round
LIMIT $limit;
