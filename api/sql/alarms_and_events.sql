-- How many events are there, and how many alarms among them?
-- One row.
SELECT (SELECT count(*) FROM events) AS events, (SELECT count(*) FROM alarms) AS alarms;
