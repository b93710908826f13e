-- What was recorded, by whom, in which order, and where do its bytes lie in the case?
--
-- One row for each accepted event. Scalars only: vectors stay in the segments. No primary keys and
-- no unique indexes: with them inserting is four times slower, and gets slower with every row.
-- Times are UTC, by the producer's clock; order is `seq`.
--
-- Where the bytes lie: segments/<run>/<producer>/<segment, 12 digits>.heads holds the frame at byte
-- `heads_offset`; the delta is row `row` of the .vec file beside it (its byte = row * delta_bytes).
-- Where it came from: `origin` is <cluster>/<topic id>/<partition> with Kafka offset `log_offset`,
-- or null where the case's own segments are the log; then `log_offset` is the embedded offset.
CREATE TABLE events (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    type VARCHAR NOT NULL,
    time TIMESTAMP NOT NULL,
    digest VARCHAR NOT NULL,        -- SHA-256 of the exact head
    prev VARCHAR NOT NULL,          -- digest of the producer's event before, as the head says
    status VARCHAR NOT NULL,        -- ok, unknown (type), gap (before it, events were missing or refused)
    segment BIGINT NOT NULL,
    heads_offset BIGINT NOT NULL,
    row BIGINT,
    origin VARCHAR,
    log_offset BIGINT NOT NULL
);

CREATE TABLE runs (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    framework VARCHAR NOT NULL,
    strategy JSON NOT NULL,
    config JSON NOT NULL,
    sampler JSON NOT NULL,
    strata JSON NOT NULL,           -- names, in the order of each round's stratum counts
    mechanism JSON NOT NULL,
    visibility VARCHAR NOT NULL,
    seconds_per_round DOUBLE,
    broadcast VARCHAR NOT NULL,     -- what devices run: float32 (the master weights), int4, …
    scenario_digest VARCHAR,
    parent VARCHAR
);

CREATE TABLE schemas (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    digest VARCHAR NOT NULL,
    architecture VARCHAR NOT NULL,
    config JSON NOT NULL,
    layout JSON NOT NULL,           -- a roundlog.tensors.TensorSchema
    nbytes BIGINT NOT NULL,
    elements BIGINT NOT NULL,
    texts_blob VARCHAR              -- blobs/<this>: canonical JSON with vocabulary and labels
);

CREATE TABLE geneses (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    round BIGINT NOT NULL,          -- t of this model
    schema_digest VARCHAR NOT NULL,
    digest VARCHAR NOT NULL,
    quantiser JSON NOT NULL,
    weights_blob VARCHAR            -- blobs/<this>: the model's bytes
);

CREATE TABLE releases (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    version VARCHAR NOT NULL,
    round BIGINT NOT NULL,          -- t of the model that was shipped
    digest VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    shipped_at BIGINT,              -- t of the run's last model then, where that is later than round
    actor VARCHAR,                  -- the person who said so; null where the server did
    authenticated VARCHAR
);

CREATE TABLE snapshots (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    round BIGINT NOT NULL,          -- t of the model
    digest VARCHAR NOT NULL,
    location VARCHAR NOT NULL
);

-- Where recording or the model's history broke off, as the recorder itself said.
CREATE TABLE interruptions (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    kind VARCHAR NOT NULL,          -- recorder_gap, continuity
    round BIGINT NOT NULL,          -- t of the model with which recording goes on
    expected VARCHAR NOT NULL,      -- recorder_gap: first round that is missing; continuity: digest
    got VARCHAR NOT NULL,           -- likewise
    reason VARCHAR NOT NULL
);

CREATE TABLE probe_sets (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    name VARCHAR NOT NULL,
    role VARCHAR NOT NULL,          -- clean, public_pool, decoy
    digest VARCHAR NOT NULL,
    n BIGINT NOT NULL,
    width BIGINT NOT NULL,
    about JSON NOT NULL,
    inputs_blob VARCHAR,            -- blobs/<this>: int32, n x width
    labels_blob VARCHAR,            -- int32, n
    groups_blob VARCHAR,            -- int32, n; decoys only
    about_blob VARCHAR              -- canonical JSON
);
