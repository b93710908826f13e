"""Which round does `head~100` mean? The one syntax of rounds and models, at every door.

`812` is itself; `head` is the last one there is; `head~100` is a hundred before it; `400..800`
holds both ends, and either may be left out.
"""

import re

from roundlog.errors import RoundRangeError

_ONE = re.compile(r"(?P<number>[0-9]{1,18})|head(?:~(?P<back>[0-9]{1,18}))?")


def parse_round(text: str | int, head: int, *, first: int = 0, what: str = "round") -> int:
    """The number that a text means.

    Args:
        head: The last round (or model) there is.
        first: The first one there is.
        what: `round` or `model`, for the message.

    Raises:
        RoundRangeError: Not in the syntax, or there is no such round.
    """
    found = _ONE.fullmatch(str(text).strip())
    if found is None:
        raise RoundRangeError(
            f"{text!r} names no {what}: write a number such as 812, head, or head~100"
        )
    number = int(found["number"]) if found["number"] else head - int(found["back"] or 0)
    if not first <= number <= head:
        there = f"the run has {what}s {first} to {head}" if head >= first else "it has none yet"
        raise RoundRangeError(f"there is no {what} {text}: {there}")
    return number


def parse_range(text: str, head: int, *, first: int = 0) -> tuple[int, int]:
    """First and last round of `400..800`, both inside; one round alone is a range of one.

    Raises:
        RoundRangeError: Not in the syntax, empty, or beyond what there is.
    """
    start, dots, end = text.partition("..")
    if not dots:
        one = parse_round(text, head, first=first)
        return one, one
    low = parse_round(start, head, first=first) if start.strip() else first
    high = parse_round(end, head, first=first) if end.strip() else head
    if high < low:
        raise RoundRangeError(f"{text!r} is empty: it ends before it begins")
    return low, high
