"""Plugins every test may use."""

pytest_plugins = ["kafka_fixtures"]
