"""Which round does a text mean?"""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.rounds import parse_range, parse_round
from roundlog.errors import RoundRangeError


def test_a_number_means_itself() -> None:
    assert parse_round("812", 5_000) == 812
    assert parse_round(0, 5_000) == 0
    assert parse_round(" 7 ", 7) == 7


def test_head_means_the_last_one_and_a_tilde_counts_back() -> None:
    assert parse_round("head", 5_000) == 5_000
    assert parse_round("head~0", 5_000) == 5_000
    assert parse_round("head~100", 5_000) == 4_900


def test_a_range_holds_both_ends_and_either_may_be_left_out() -> None:
    assert parse_range("400..800", 5_000) == (400, 800)
    assert parse_range("400..", 5_000) == (400, 5_000)
    assert parse_range("..400", 5_000) == (0, 400)
    assert parse_range("head~9..head", 5_000) == (4_991, 5_000)
    assert parse_range("12", 5_000) == (12, 12)


@pytest.mark.parametrize(
    "text", ["", "-1", "1.5", "head-1", "head~", "@alarm1", "1e3", "١٢", "9" * 40]
)
def test_what_is_not_in_the_syntax_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(RoundRangeError, match=r"head~100|there is no"):
        parse_round(text, 5_000)


def test_a_model_beyond_the_run_is_refused_with_what_there_is() -> None:
    with pytest.raises(
        RoundRangeError, match="there is no model 5001: the run has models 0 to 5000"
    ):
        parse_round("5001", 5_000, what="model")
    with pytest.raises(RoundRangeError, match="head~6: the run has rounds 3 to 8"):
        parse_round("head~6", 8, first=3)
    with pytest.raises(RoundRangeError, match="it has none yet"):
        parse_round("0", -1)


def test_a_range_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(RoundRangeError, match="ends before it begins"):
        parse_range("800..400", 5_000)


@given(st.text(max_size=24))
def test_any_text_is_a_round_of_the_run_or_refused(text: str) -> None:
    with contextlib.suppress(RoundRangeError):
        assert 10 <= parse_round(text, 20, first=10) <= 20
