-- Which step did the server apply in each round, and where do its bytes lie?
--
-- One row for each committed round, with all that folding needs, so that no head is parsed again:
-- delta  = bytes [row * delta_bytes, + delta_bytes) of <segment>.vec
-- patch  = bytes [patch_offset, + patch_bytes) of <segment>.heads; strata likewise (uint32 counts)
-- A run that was set back has more than one row for a round: `current_rounds` holds the last one.
CREATE TABLE rounds (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    round BIGINT NOT NULL,          -- t: W_t became W_{t+1}
    attempt BIGINT NOT NULL,
    cohort_size BIGINT NOT NULL,
    weight DOUBLE,
    schema_digest VARCHAR NOT NULL,
    pre_digest VARCHAR NOT NULL,    -- of W_t
    post_digest VARCHAR NOT NULL,   -- of W_{t+1}
    broadcast_digest VARCHAR,       -- of what devices run in place of W_{t+1}, where they do
    delta_norm DOUBLE,              -- as recorded; weight units
    aggregate_norm DOUBLE,
    patched BIGINT NOT NULL,
    finite BOOLEAN NOT NULL,        -- no NaN or infinity in the delta
    optimizer VARCHAR,
    learning_rate DOUBLE,
    noise_multiplier DOUBLE,
    defence_scores JSON NOT NULL,
    segment BIGINT NOT NULL,
    row BIGINT NOT NULL,
    delta_bytes BIGINT NOT NULL,
    heads_offset BIGINT NOT NULL,
    patch_offset BIGINT NOT NULL,
    patch_bytes BIGINT NOT NULL,
    strata_offset BIGINT NOT NULL,
    strata_bytes BIGINT NOT NULL    -- 0 where no stratum counts were recorded
);

CREATE TABLE round_failures (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    round BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    reason VARCHAR NOT NULL,
    cohort_size BIGINT NOT NULL
);

-- Rounds whose cohort was recorded, sealed; what is in the seal stays beside its head.
CREATE TABLE cohorts (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    round BIGINT NOT NULL,
    attempt BIGINT NOT NULL,
    rule VARCHAR NOT NULL           -- sampler, ids
);

-- The text of an audited answer stays beside its head, where it can be erased:
-- bytes [text_offset, + text_bytes) of <segment>.heads, 16 salt bytes and then canonical JSON; all of
-- them zero where it was erased, for which see `erasures`.
CREATE TABLE audits (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    round BIGINT NOT NULL,          -- t of the model that answered
    item BIGINT NOT NULL,
    category VARCHAR NOT NULL,
    answer BIGINT NOT NULL,
    scores JSON NOT NULL,
    model_digest VARCHAR NOT NULL,
    inclusion_probability DOUBLE NOT NULL,
    segment BIGINT NOT NULL,
    heads_offset BIGINT NOT NULL,
    text_offset BIGINT NOT NULL,
    text_bytes BIGINT NOT NULL
);

CREATE VIEW current_rounds AS
SELECT * FROM rounds
QUALIFY row_number() OVER (PARTITION BY run, round ORDER BY seq DESC, producer) = 1;

-- Rounds that are missing now between the first and the last of their run.
CREATE VIEW missing_rounds AS
WITH steps AS (
    SELECT run, round, lag(round) OVER (PARTITION BY run ORDER BY round) AS before
    FROM rounds
)
SELECT run, before + 1 AS first_missing, round - 1 AS last_missing
FROM steps
WHERE round - 1 > before;
