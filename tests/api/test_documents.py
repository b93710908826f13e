"""How does an answer become JSON that every reader accepts?"""

import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.documents import encode, etag, plain


def test_numbers_that_are_not_finite_become_null_with_a_reason_beside_them() -> None:
    document = plain({"asr": float("nan"), "norm": float("-inf"), "n": 3})
    assert document == {
        "asr": None,
        "asr_reason": "not a finite number: nan",
        "norm": None,
        "norm_reason": "not a finite number: -inf",
        "n": 3,
    }


def test_times_are_utc_and_end_in_z() -> None:
    naive = datetime(2026, 1, 5, 12, 30)  # noqa: DTZ001 - the projection's own form
    assert plain(naive) == "2026-01-05T12:30:00Z"
    assert plain(naive.replace(tzinfo=UTC)) == "2026-01-05T12:30:00Z"
    east = naive.replace(tzinfo=timezone(timedelta(hours=2)))
    assert plain(east) == "2026-01-05T10:30:00Z"


def test_numpy_values_tuples_sets_and_paths_have_a_plain_form() -> None:
    assert plain(np.float64(0.5)) == 0.5
    assert plain(np.arange(3)) == [0, 1, 2]
    assert plain({"t": (1, 2), "s": {"b", "a"}, "p": Path("x/y")}) == {
        "t": [1, 2],
        "s": ["a", "b"],
        "p": "x/y",
    }


def test_what_has_no_form_in_json_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no form in JSON"):
        plain(object())


def test_control_and_direction_characters_leave_escaped() -> None:
    body = encode({"said": "\x1b[31m\u202eevil"})
    assert b"\x1b" not in body
    assert json.loads(body) == {"said": "\x1b[31m\u202eevil"}


def test_equal_bytes_have_equal_tags_and_others_have_not() -> None:
    assert etag(b"a") == etag(b"a") != etag(b"b")
    assert etag(b"a").startswith('"')


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(json_values)
def test_every_answer_is_strict_json(value: object) -> None:
    def refuse(constant: str) -> object:
        raise AssertionError(f"{constant} in a document")

    json.loads(encode(value), parse_constant=refuse)
