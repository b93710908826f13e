-- Which runs does the case hold? One name a row.
SELECT DISTINCT run FROM events ORDER BY run;
