-- How much of everything has been read? Changes whenever the case does.
-- One row.
SELECT
    (SELECT count(*) FROM events) AS events,
    (SELECT count(*) FROM findings) AS findings,
    (SELECT count(*) FROM quarantine) AS quarantined;
