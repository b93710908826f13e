"""LOG -> DUCKDB: reads every fact exactly once, and says what is wrong with the record."""
