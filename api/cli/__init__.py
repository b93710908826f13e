"""The command line: `roundlog VERB …`. Results on stdout, progress and errors on stderr."""

from api.cli.main import main

__all__ = ["main"]
