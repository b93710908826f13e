"""How far is it? A line on stderr: redrawn on a terminal, every few seconds anywhere else."""

import sys
import time

import click

# On a terminal a line is redrawn often enough to be alive; in a log file, rarely enough to read.
REDRAW_S = 0.1
LOG_S = 5.0


class ProgressLine:
    """An `api.records.Progress` for people; says nothing about work that is over at once."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._terminal = sys.stderr.isatty()
        self._began = time.monotonic()
        self._next = self._began + (0.5 if self._terminal else LOG_S)
        self._drawn = 0

    def __call__(self, what: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if self._quiet or now < self._next:
            return
        self._next = now + (REDRAW_S if self._terminal else LOG_S)
        if total:
            share = min(1.0, done / total)
            filled = int(share * 24)
            line = f"{what} [{'#' * filled}{'.' * (24 - filled)}] {share:4.0%}"
        else:
            line = f"{what} {done:,}"
        line += f"  {now - self._began:,.0f} s"
        if self._terminal:
            click.echo("\r" + line.ljust(self._drawn), err=True, nl=False)
            self._drawn = len(line)
        else:
            click.echo(line, err=True)

    def clear(self) -> None:
        """Takes the line away, so that the result stands alone."""
        if self._drawn:
            click.echo("\r" + " " * self._drawn + "\r", err=True, nl=False)
            self._drawn = 0
