"""How does model text reach human eyes without acting on them? Shown, never obeyed.

What a model wrote, and what a person typed into it, may hold escape sequences that repaint a
terminal, direction marks that swap what is read, invisible characters that hide a word, markup,
and cells that a spreadsheet would run. Everything that is not plainly visible is written out as
`⟨U+202E⟩`. Nothing is dropped silently: a reviewer signs what they saw.

This does not detect look-alike letters (Cyrillic а for Latin a): they are letters.
"""

import html
import unicodedata

LIMIT = 4_000
"""Characters shown unless the caller says otherwise: two screens of text."""

MARKS_PER_LETTER = 4
"""Combining characters in a row that stay as they are. Vietnamese needs two and Hebrew with
cantillation four; a flood of them paints over the lines above."""

ELLIPSIS = "…"

# Other, Format, Surrogate, Private use, Unassigned; separators other than the plain blank.
_HIDDEN_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_MARKS = frozenset({"Mn", "Mc", "Me"})

# Letters and marks by category that no font draws anything for.
_BLANK = frozenset(
    {0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x1D159}
    | set(range(0x180B, 0x1810))
    | set(range(0xFE00, 0xFE10))
    | set(range(0xE0000, 0xE1000))
)

# What makes a spreadsheet take a cell for a formula, the full-width forms that some of them fold
# to these, and the blanks before them that an import may trim.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def for_terminal(text: str, limit: int = LIMIT) -> str:
    """One line that a terminal shows and does not obey.

    Args:
        limit: Characters of `text` that are shown, at least 0; an ellipsis and the number of
            those left out stand for the rest.

    Returns:
        Only visible characters and blanks; line breaks and tabs are written out too.
    """
    return _shown(text, limit, keep="")


def for_html(text: str, limit: int = LIMIT) -> str:
    """The text as the content of an element or a quoted attribute; line breaks stay."""
    return html.escape(_shown(text, limit, keep="\n"), quote=True)


def for_csv(text: str, limit: int = LIMIT) -> str:
    """The text as the content of a cell, which no spreadsheet takes for a formula.

    Quoting is left to the CSV writer. A number such as `-1.5` gets its apostrophe too: model text
    is text.
    """
    start = text.lstrip(" \u00a0")
    shown = _shown(text, limit, keep="")
    return f"'{shown}" if start.startswith(_FORMULA_STARTS) else shown


def _shown(text: str, limit: int, keep: str) -> str:
    parts: list[str] = []
    marks = 0
    letter = False  # a mark needs something to stand on
    for character in text[: max(limit, 0)]:
        category = unicodedata.category(character)
        if category in _MARKS:
            marks += 1
            visible = letter and marks <= MARKS_PER_LETTER
        else:
            marks = 0
            visible = category not in _HIDDEN_CATEGORIES
            # Blanks of other widths hide a word as well as nothing does.
            if category == "Zs" and character != " ":
                visible = False
            letter = visible and character != " "
        if character in keep or (visible and ord(character) not in _BLANK):
            parts.append(character)
        else:
            parts.append(f"⟨U+{ord(character):04X}⟩")
    if len(text) > max(limit, 0):
        parts.append(f"{ELLIPSIS} ({len(text) - max(limit, 0):,} more)")
    return "".join(parts)
