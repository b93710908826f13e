-- What did detectors and people say of a run? Events of the producer `owner`: see `ingest.said`.

CREATE TABLE alarms (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    key VARCHAR NOT NULL,           -- roundlog.events.alarm_key
    detector VARCHAR NOT NULL,
    version VARCHAR NOT NULL,
    chart VARCHAR NOT NULL,
    direction VARCHAR,              -- its digest; null for a detector that looks along none
    direction_name VARCHAR,
    round BIGINT NOT NULL,
    score DOUBLE NOT NULL,
    threshold DOUBLE NOT NULL,
    false_alarm_rate DOUBLE NOT NULL, -- expected false alarms a round, where there is no attack
    budget JSON NOT NULL,           -- alarms, rounds, charts
    evidence JSON NOT NULL
);

CREATE TABLE alarm_acts (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    kind VARCHAR NOT NULL,          -- acknowledged, silenced
    alarm VARCHAR,                  -- key of the alarm it is about, or else:
    detector VARCHAR,               -- silenced: alarms of this detector, raised in these rounds
    direction_name VARCHAR,         -- null: along any direction
    from_round BIGINT,
    until_round BIGINT,             -- the first round for which it holds no more
    said_at BIGINT NOT NULL,        -- t of the run's last model then
    actor VARCHAR NOT NULL,
    authenticated VARCHAR NOT NULL, -- local, key, oidc
    note VARCHAR NOT NULL
);

-- Whose words are gone, and why: of the events of `from_producer` from first_seq to last_seq.
CREATE TABLE erasures (
    run VARCHAR NOT NULL,
    producer VARCHAR NOT NULL,
    seq BIGINT NOT NULL,
    time TIMESTAMP NOT NULL,
    from_producer VARCHAR NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    texts BIGINT NOT NULL,          -- how many were there then
    before_round BIGINT,            -- what was asked for: of models before this t; null for all
    said_at BIGINT NOT NULL,        -- t of the run's last model then
    actor VARCHAR NOT NULL,
    authenticated VARCHAR NOT NULL, -- local, key, oidc
    note VARCHAR NOT NULL
);
