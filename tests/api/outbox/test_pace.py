"""Does waiting double from a second to five minutes, and never to a beat that others share?"""

import random

import pytest

from api.outbox.pace import Pace


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(5)


@pytest.mark.parametrize(
    ("failures", "whole"), [(1, 1), (2, 2), (3, 4), (9, 256), (10, 300), (11, 300), (5_000, 300)]
)
def test_a_wait_is_between_half_and_all_of_a_time_that_doubles(failures: int, whole: float) -> None:
    waits = [Pace().delay(failures) for _ in range(200)]
    assert whole / 2 <= min(waits) < 0.55 * whole
    assert 0.95 * whole < max(waits) <= whole


def test_two_channels_that_fail_together_part() -> None:
    first, second = ([Pace().delay(failures) for failures in range(1, 9)] for _ in range(2))
    assert all(abs(one - other) > 0.001 for one, other in zip(first, second, strict=True))
