"""What do results look like? Aligned tables for people, one JSON document or a stream for tools."""

import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from api.documents import Document, encode
from roundlog.sanitize import for_terminal

Cell = str | int | float | None


def emit(document: Document, as_json: bool, table: Callable[[Document], str]) -> None:
    """Prints a result: as one JSON document and nothing else, or as a table."""
    if as_json:
        click.echo(encode(document, indent=2), nl=False)
    else:
        click.echo(table(document))


def emit_lines(rows: Iterable[Document]) -> None:
    """Prints one JSON document a line."""
    for row in rows:
        click.echo(encode(row), nl=False)


def table(rows: Sequence[Sequence[Cell]], head: Sequence[str]) -> str:
    """Aligned plain text: numbers to the right, texts to the left, safe for a terminal."""
    if not rows:
        return "(none)"
    texts = [[_text(cell) for cell in row] for row in rows]
    widths = [max(len(head[i]), *(len(row[i]) for row in texts)) for i in range(len(head))]
    right = [
        all(isinstance(row[i], int | float) or row[i] is None for row in rows)
        for i in range(len(head))
    ]
    lines = [click.style(_line(head, widths, right), bold=True)]
    lines += [_line(row, widths, right) for row in texts]
    return "\n".join(lines)


def facts(pairs: Iterable[tuple[str, Cell]]) -> str:
    """Names and values, one a line."""
    listed = [(name, _text(value)) for name, value in pairs]
    width = max(len(name) for name, _ in listed)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in listed)


def count(number: int, one: str, many: str | None = None) -> str:
    """`1 round`, `5,000 rounds`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def size(count: int) -> str:
    """`45.8 kB`, `88.5 MB`: thousands and millions of bytes."""
    return f"{count / 1e3:,.1f} kB" if count < 1_000_000 else f"{count / 1e6:,.1f} MB"


def percent(share: float | None) -> str:
    """A share for people, to a tenth of a percent; finer where that would show nothing."""
    if share is None:
        return "–"
    return f"{share:.1%}" if share >= 0.001 or share == 0 else f"{share:.2g}"


def days(rounds: int, seconds_per_round: float | None) -> str:
    """How long so many rounds took, for people who think in days."""
    if not seconds_per_round:
        return "–"
    seconds = rounds * seconds_per_round
    return f"{seconds / 86_400:,.1f} days" if seconds >= 86_400 else f"{seconds / 3_600:,.1f} h"


def colour_wanted() -> bool:
    """Whether stdout is a terminal that shows colour."""
    return sys.stdout.isatty()


def _text(cell: Any) -> str:
    if cell is None:
        return "–"
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, int):
        return f"{cell:,}"
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return for_terminal(str(cell))


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if to_the_right else cell.ljust(width)
        for cell, width, to_the_right in zip(cells, widths, right, strict=True)
    )
    return "  ".join(padded).rstrip()
