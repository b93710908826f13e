"""The draw that names a cohort: fair, without replacement, and the same bits for ever."""

import numpy as np
import pytest
from scipy import stats

from roundlog.cohort import (
    INDEX_BITS,
    RULE,
    CohortError,
    Ids,
    Membership,
    draw_members,
    indices_of,
    strata_of,
)
from roundlog.encoding import canonical_json

KEY = 0x0123456789ABCDEF0123456789ABCDEF
SIZES = np.array([5, 40, 3_000_000_000, 12], dtype=np.int64)
SAMPLED = np.array([2, 3, 4, 0], dtype=np.int64)
GOLDEN = [4, 1, 18, 39, 16, 489927750, 2975013152, 168056585, 1591733308]
GOLDEN_WHOLE = [7, 2, 9, 4, 3, 5, 1, 6, 10, 11, 0, 8]
MEMBERSHIP = Membership(key=KEY, draw=(7 << 16) + 1, sampled=(2, 3, 4, 0), no_shows=(1,), late=(8,))


def _draw(draw: int, sampled: list[int], sizes: list[int], key: int = KEY) -> Ids:
    return draw_members(key, draw, np.array(sampled), np.array(sizes))


def test_each_stratum_gives_as_many_devices_as_asked() -> None:
    ids = draw_members(KEY, 3, SAMPLED, SIZES)
    np.testing.assert_array_equal(np.bincount(strata_of(ids), minlength=4), SAMPLED)
    np.testing.assert_array_equal(strata_of(ids), np.sort(strata_of(ids)))
    assert np.all(indices_of(ids) < SIZES[strata_of(ids)])


def test_an_id_is_its_stratum_above_forty_bits_of_index() -> None:
    ids = np.array([(3 << INDEX_BITS) | 17, (1 << INDEX_BITS) - 1], dtype=np.uint64)
    assert strata_of(ids).tolist() == [3, 0]
    assert indices_of(ids).tolist() == [17, (1 << INDEX_BITS) - 1]


@pytest.mark.parametrize("sampled", [[5, 0], [5, 40], [1, 39], [0, 0]])
def test_no_device_is_drawn_twice(sampled: list[int]) -> None:
    for draw in range(30):
        ids = _draw(draw, sampled, [5, 40])
        assert ids.size == np.unique(ids).size == sum(sampled)


def test_a_whole_stratum_can_be_drawn() -> None:
    assert sorted(indices_of(_draw(0, [40], [40])).tolist()) == list(range(40))


def test_every_device_is_as_likely_as_any_other() -> None:
    """Chi-square over 2,000 draws of 7 of 20 devices; level 0.1 %.

    Without replacement, counts vary less than independent ones by the factor (20 - 7) / (20 - 1)
    in the sum of squares.
    """
    counts = np.zeros(20)
    for draw in range(2_000):
        counts += np.bincount(indices_of(_draw(draw, [7], [20])), minlength=20)
    expected = 2_000 * 7 / 20
    statistic = ((counts - expected) ** 2).sum() / (expected * (1 - 7 / 20)) * 19 / 20
    p = stats.chi2(19).sf(statistic)
    assert p > 0.001, f"key {KEY:x}: p = {p:.1e}"


def test_pairs_of_devices_are_equally_likely_too() -> None:
    """All 15 pairs of 6 devices, of which 2 are drawn; chi-square at 0.1 %."""
    counts = np.zeros((6, 6))
    for draw in range(3_000):
        one, other = np.sort(indices_of(_draw(draw, [2], [6])))
        counts[one, other] += 1
    found = counts[np.triu_indices(6, 1)]
    p = stats.chisquare(found).pvalue
    assert found.sum() == 3_000
    assert p > 0.001, f"key {KEY:x}: p = {p:.1e}"


def test_draws_of_one_key_do_not_resemble_each_other() -> None:
    one, other = (indices_of(_draw(draw, [4_000], [10**9])) for draw in (1, 2))
    assert abs(np.corrcoef(one, other)[0, 1]) < 4.5 / np.sqrt(4_000)
    assert not np.intersect1d(one, other).size > 3


def test_the_rule_names_these_devices_for_ever() -> None:
    """A record names a cohort by this draw: a change would make it name others."""
    ids = draw_members(KEY, (7 << 16) + 1, SAMPLED, SIZES)
    assert strata_of(ids).tolist() == [0, 0, 1, 1, 1, 2, 2, 2, 2]
    assert indices_of(ids).tolist() == GOLDEN
    # Drawing all twelve meets devices again and again, so the second draws are pinned as well.
    assert indices_of(_draw(5, [12], [12])).tolist() == GOLDEN_WHOLE


def test_a_stratum_that_is_too_small_is_refused() -> None:
    with pytest.raises(CohortError, match=r"stratum 3 has 12 devices.*asks for 13.*sample fewer"):
        draw_members(KEY, 0, np.array([0, 0, 0, 13]), SIZES)


def test_a_membership_comes_back_from_its_bytes() -> None:
    data = MEMBERSHIP.to_bytes()
    assert Membership.from_bytes(data) == MEMBERSHIP
    assert Membership.from_bytes(data).to_bytes() == data


def test_bytes_of_a_membership_are_canonical_json() -> None:
    assert MEMBERSHIP.to_bytes() == canonical_json(
        {
            "rule": RULE,
            "key": "0123456789abcdef0123456789abcdef",
            "draw": 458_753,
            "sampled": [2, 3, 4, 0],
            "no_shows": [1],
            "late": [8],
        }
    )


def test_counted_are_the_drawn_less_absent_and_late_ones() -> None:
    ids = draw_members(KEY, MEMBERSHIP.draw, SAMPLED, SIZES)
    counted = MEMBERSHIP.counted(SIZES)
    assert counted.tolist() == [*ids[:1].tolist(), *ids[2:8].tolist()]


def test_a_membership_without_losses_counts_everybody() -> None:
    full = Membership(KEY, 0, (2, 3, 4, 0), (), ())
    np.testing.assert_array_equal(full.counted(SIZES), draw_members(KEY, 0, SAMPLED, SIZES))


@pytest.mark.parametrize(
    "document", [[], {}, {"rule": "philox-strata/2"}, {"rule": None}, "philox-strata/1"], ids=str
)
def test_a_membership_of_another_rule_is_refused(document: object) -> None:
    with pytest.raises(CohortError, match="not a membership drawn by 'philox-strata/1'"):
        Membership.from_bytes(canonical_json(document))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "no hexadecimal number"),
        ("key", 17),
        ("draw", "x"),
        ("draw", None),
        ("sampled", 3),
        ("sampled", ["many"]),
        ("no_shows", None),
        ("late", None),
    ],
)
def test_a_membership_with_a_wrong_field_is_refused(field: str, value: object) -> None:
    document: dict[str, object] = {
        "rule": RULE,
        "key": "00",
        "draw": 0,
        "sampled": [],
        "no_shows": [],
        "late": [],
    }
    assert Membership.from_bytes(canonical_json(document)).sampled == ()
    with pytest.raises(CohortError, match="a membership whose fields are wrong"):
        Membership.from_bytes(canonical_json({**document, field: value}))
    del document[field]
    with pytest.raises(CohortError, match=f"fields are wrong: '{field}'"):
        Membership.from_bytes(canonical_json(document))


@pytest.mark.parametrize("position", [9, -1, 1_000])
def test_a_position_outside_the_draw_is_refused(position: int) -> None:
    for losses in (((position,), ()), ((), (position,))):
        membership = Membership(KEY, 0, (2, 3, 4, 0), *losses)
        with pytest.raises(CohortError, match=rf"position {position} of a draw of 9 devices"):
            membership.counted(SIZES)


@pytest.mark.parametrize("sampled", [(2, 3), (2, 3, 4, 0, 1), (2, -1, 4, 0)])
def test_counts_of_other_strata_are_refused(sampled: tuple[int, ...]) -> None:
    with pytest.raises(CohortError, match="do not agree"):
        Membership(KEY, 0, sampled, (), ()).counted(SIZES)
