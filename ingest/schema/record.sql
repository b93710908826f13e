-- What is wrong with the record, what was refused, and how far have we read?

-- Facts about the record. Kinds: bad_digest, gap, equivocation, broken_chain, continuity,
-- round_gap, round_repeated, recorder_gap, not_finite, dimension, schema, torn_tail, lost_range,
-- topic_recreated, damaged_file. `id` is the first 16 hex digits of
-- SHA-256(canonical JSON of [kind, run, producer, seq or offset]), so that a rebuild keeps it.
CREATE TABLE findings (
    id VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    run VARCHAR,
    producer VARCHAR,
    seq BIGINT,
    round BIGINT,
    detail VARCHAR NOT NULL,
    origin VARCHAR,
    log_offset BIGINT
);

-- One row for each record that was refused; its bytes lie in quarantine/<file>.
CREATE TABLE quarantine (
    id VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    run VARCHAR,                    -- run to type: as its head says, where it could be read
    producer VARCHAR,
    seq BIGINT,
    type VARCHAR,
    head_digest VARCHAR,
    expected BIGINT,                -- the seq that was due; at most `seq`: it came in its turn
    size BIGINT NOT NULL,           -- bytes in the log
    kept BIGINT NOT NULL,           -- bytes in the file
    sha256 VARCHAR NOT NULL,        -- of the bytes in the file
    file VARCHAR NOT NULL,
    origin VARCHAR,
    partition VARCHAR NOT NULL,
    log_offset BIGINT NOT NULL
);

-- The same event once more, byte for byte. Appending is at-least-once: this is no fault.
CREATE TABLE duplicates (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    digest VARCHAR NOT NULL,
    origin VARCHAR,
    log_offset BIGINT NOT NULL
);

-- Where reading goes on, in the same transaction as the rows that came before.
-- source `segments`: partition is run/producer. source `kafka`: partition is its number.
-- source `intake`: how far an intake file has been read, in bytes; partition is its path.
CREATE TABLE watermarks (
    source VARCHAR NOT NULL,
    cluster_id VARCHAR NOT NULL,
    topic VARCHAR NOT NULL,
    topic_id VARCHAR NOT NULL,
    partition VARCHAR NOT NULL,
    next_offset BIGINT NOT NULL
);

-- Events that are missing now, whatever was missing when: seq first_missing to last_missing.
CREATE VIEW open_gaps AS
WITH seen AS (
    SELECT run, producer, seq FROM events
    UNION ALL
    SELECT run, producer, seq FROM quarantine WHERE expected <= seq
), steps AS (
    SELECT
        run, producer, seq,
        coalesce(lag(seq) OVER (PARTITION BY run, producer ORDER BY seq), -1) AS before
    FROM seen
)
SELECT run, producer, before + 1 AS first_missing, seq - 1 AS last_missing
FROM steps
WHERE seq - 1 > before;
