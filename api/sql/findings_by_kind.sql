-- How many findings of each kind does the record hold?
-- One row for each kind that there is.
SELECT kind, count(*) AS findings FROM findings GROUP BY kind ORDER BY kind;
