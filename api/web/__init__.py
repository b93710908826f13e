"""The HTTP door: routes under /api/v1, problems as RFC 9457, long work as jobs."""
