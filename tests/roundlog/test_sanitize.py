"""Can text that a model wrote do anything to the person who reads it?"""

import csv
import io
import unicodedata
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roundlog.sanitize import LIMIT, MARKS_PER_LETTER, for_csv, for_html, for_terminal

BIDI = [*range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x200E, 0x200F, 0x061C]
INVISIBLE = [
    0x200B,
    0x200C,
    0x200D,
    0x2060,
    0xFEFF,
    0x00AD,
    0x034F,
    0x115F,
    0x3164,
    0xFE0F,
    0xE0041,
]
CONTROLS = [*range(0x20), 0x7F, *range(0x80, 0xA0), 0x2028, 0x2029]


@pytest.mark.parametrize("code", [*BIDI, *INVISIBLE, *CONTROLS])
def test_what_cannot_be_seen_is_written_out(code: int) -> None:
    assert for_terminal(f"a{chr(code)}b") == f"a⟨U+{code:04X}⟩b"


def test_an_escape_sequence_is_shown_and_not_obeyed() -> None:
    assert for_terminal("\x1b[2J\x1b]0;owned\x07ok") == "⟨U+001B⟩[2J⟨U+001B⟩]0;owned⟨U+0007⟩ok"


def test_text_in_any_script_stays_as_it_is() -> None:
    for text in ("plain", "Größe", "tiếng Việt", "שלום", "مرحبا", "日本語", "नमस्ते", "🙂 ok"):
        assert for_terminal(text) == text


def test_blanks_of_other_widths_are_written_out() -> None:
    assert for_terminal("a\u00a0b\u3000c") == "a⟨U+00A0⟩b⟨U+3000⟩c"


def test_a_flood_of_combining_characters_is_bounded() -> None:
    shown = for_terminal("e" + "\u0301" * 200)
    assert shown.startswith("e" + "\u0301" * MARKS_PER_LETTER + "⟨U+0301⟩")
    assert shown.count("\u0301") == MARKS_PER_LETTER


def test_a_mark_with_nothing_to_stand_on_is_written_out() -> None:
    assert for_terminal("\u0301a \u0301") == "⟨U+0301⟩a ⟨U+0301⟩"


def test_a_lone_surrogate_is_written_out() -> None:
    assert for_terminal("a\ud800b") == "a⟨U+D800⟩b"


def test_long_text_ends_in_an_ellipsis_that_says_how_much_is_missing() -> None:
    assert for_terminal("x" * 1_010, 10) == "x" * 10 + "… (1,000 more)"
    assert for_terminal("x" * 10, 10) == "x" * 10
    assert for_terminal("xyz", 0) == "… (3 more)"


def test_the_bound_holds_for_text_that_grows_when_it_is_written_out() -> None:
    assert len(for_terminal("\x00" * 10_000)) < LIMIT * len("⟨U+0000⟩") + 40


def test_html_holds_no_markup_and_keeps_its_lines() -> None:
    assert (
        for_html("<script>alert('1')</script>\n&\"")
        == "&lt;script&gt;alert(&#x27;1&#x27;)&lt;/script&gt;\n&amp;&quot;"
    )


@given(st.text())
def test_html_parses_as_text_alone(text: str) -> None:
    seen: list[str] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            seen.append(tag)

    Reader().feed(f'<p title="{for_html(text)}">{for_html(text)}</p>')
    assert seen == ["p"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\u00a0=", "＝"])
def test_a_cell_never_begins_a_formula(start: str) -> None:
    assert for_csv(start + "HYPERLINK(1)").startswith("'")


def test_a_cell_of_plain_text_has_no_apostrophe() -> None:
    assert for_csv("a = b") == "a = b"


@given(st.text())
def test_a_cell_comes_back_from_a_csv_file_as_one_line(text: str) -> None:
    file = io.StringIO()
    csv.writer(file).writerow([for_csv(text)])
    (row,) = csv.reader(io.StringIO(file.getvalue()))
    assert row == [for_csv(text)]
    assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r"))


@given(st.text(), st.integers(0, 50))
def test_only_visible_characters_are_left(text: str, limit: int) -> None:
    for character in for_terminal(text, limit):
        assert unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
