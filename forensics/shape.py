"""How was it pushed, once it had begun: steadily, ever more, on and off, and until when?

Each shape is a curve that the standardised series may follow from the onset on, with the size of
the push as one more unknown. The one with the least Bayesian information criterion is named; the
criteria of all are told, so that a near tie is seen to be one.

A trigger that works already moves the model less, so a push of constant strength wanes as it is
seen here. That is why waning is a shape of its own, and why a push may be waning *and* stopped.

References:
    Schwarz, "Estimating the dimension of a model", Annals of Statistics 6(2), 1978.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from forensics.dating import DROP

Floats = NDArray[np.float64]

FEWEST = 60
"""Values from the onset on without which no shape is told."""

SCALES = 24
"""Lengths tried for a ramp and for waning, evenly spaced in their logarithm."""

PEAKS = 3
"""Periods tried: the strongest of the spectrum."""

REFINED = 21
"""Periods tried around each of them."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the push went on."""

    name: str
    """`steady`, `waning`, `ramp`, `pulsed`, `stopped`."""

    end: int | None
    """`stopped`: index of the first value without a push, likewise the ends of its set."""
    end_low: int | None
    end_high: int | None

    period: float | None
    """`pulsed`: values from one beginning to the next."""

    duty: float | None
    """`pulsed`: share of a period in which it is pushed."""

    length: float | None
    """`ramp`: values until full strength; `waning`: until it is down to 37 %."""

    criteria: dict[str, float]
    """The criterion of each shape, less that of the best."""


@dataclass(frozen=True, slots=True)
class _Fit:
    name: str
    criterion: float
    end: int | None = None
    period: float | None = None
    duty: float | None = None
    length: float | None = None


def find_shape(values: Floats) -> Shape | None:
    """The shape of a push; None where there are too few values.

    Args:
        values: Standardised by what was usual before the onset: mean 0, standard deviation 1
            without a push. Shape (n,), the first one at the onset.
    """
    n = len(values)
    if n < FEWEST:
        return None
    best: dict[str, _Fit] = {}
    for fit in _fits(values):
        if fit.name not in best or fit.criterion < best[fit.name].criterion:
            best[fit.name] = fit
    chosen = min(best.values(), key=lambda fit: fit.criterion)
    low = high = None
    if chosen.end is not None:
        low, high = _end_set(values, chosen)
    return Shape(
        name=chosen.name,
        end=chosen.end,
        end_low=low,
        end_high=high,
        period=chosen.period,
        duty=chosen.duty,
        length=chosen.length,
        criteria={name: fit.criterion - chosen.criterion for name, fit in sorted(best.items())},
    )


def _fits(values: Floats) -> Iterator[_Fit]:
    n = len(values)
    t = np.arange(n, dtype=np.float64)
    lengths = np.geomspace(max(8.0, n / 200), 2.0 * n, SCALES)
    yield _Fit("steady", _criterion(values, np.ones(n), 1))
    for length in lengths:
        waning = np.exp(-t / length)
        yield _Fit("waning", _criterion(values, waning, 2), length=float(length))
        end, gain = _best_end(values, waning)
        yield _Fit("stopped", 3 * math.log(n) - gain, end=end, length=float(length))
        if length <= n:
            ramp = np.minimum(1.0, (t + 1) / length)
            yield _Fit("ramp", _criterion(values, ramp, 2), length=float(length))
    end, gain = _best_end(values, np.ones(n))
    yield _Fit("stopped", 2 * math.log(n) - gain, end=end)
    yield from _pulsed(values)


def _criterion(values: Floats, curve: Floats, unknowns: int) -> float:
    """Twice the negative log likelihood at the best size, and the price of the unknowns."""
    return unknowns * math.log(len(values)) - _gain(float(values @ curve), float(curve @ curve))


def _gain(inner: float, squares: float) -> float:
    """By how much the best size, which is never negative, lowers the sum of squares."""
    return inner * inner / squares if inner > 0 and squares > 0 else 0.0


def _ends(values: Floats, curve: Floats) -> Floats:
    """Gain of the curve cut off before each place, shape (n + 1,)."""
    inner = np.concatenate([[0.0], np.cumsum(values * curve)])
    squares = np.concatenate([[1.0], np.cumsum(np.square(curve))])
    found: Floats = np.square(np.maximum(inner, 0.0)) / squares
    return found


def _best_end(values: Floats, curve: Floats) -> tuple[int, float]:
    """Where cutting the curve off helps most; at the end itself it is no stop."""
    gains = _ends(values, curve)[:-1]
    end = int(np.argmax(gains))
    return end, float(gains[end])


def _end_set(values: Floats, fit: _Fit) -> tuple[int, int]:
    """Ends whose likelihood is within `forensics.dating.DROP` of the best one."""
    t = np.arange(len(values), dtype=np.float64)
    curve = np.ones(len(values)) if fit.length is None else np.exp(-t / fit.length)
    gains = _ends(values, curve)
    inside = np.flatnonzero(gains >= gains.max() - 2 * DROP)
    return int(inside[0]), int(inside[-1])


def _pulsed(values: Floats) -> Iterator[_Fit]:
    """On and off, with the period and the share of it that fit best."""
    n = len(values)
    spectrum = np.abs(np.fft.rfft(values - values.mean()))
    # Below four values a period is no pulse, and above a third of the series it is a trend.
    bins = np.arange(len(spectrum))
    spectrum[(bins < 3) | (bins > n // 4)] = 0.0
    for peak in np.argsort(spectrum)[::-1][:PEAKS]:
        if spectrum[peak] == 0.0:
            return
        periods = n / np.linspace(peak - 0.5, peak + 0.5, REFINED)
        yield min((_folded(values, period) for period in periods), key=lambda fit: fit.criterion)


def _folded(values: Floats, period: float) -> _Fit:
    """The best stretch of a period that is pushed."""
    n = len(values)
    cells = int(min(64, max(4, round(period))))
    cell = (np.arange(n) % period / period * cells).astype(np.int64)
    sums = np.bincount(cell, values, cells).astype(np.float64)
    counts = np.bincount(cell, minlength=cells).astype(np.float64)
    # Every stretch that begins at a cell and is 1 to cells - 1 long, around the corner too.
    begins, widths = np.arange(cells)[:, None], np.arange(1, cells)[None, :]
    inner, squares = (
        around[begins + widths] - around[begins] for around in (_running(sums), _running(counts))
    )
    gains = np.square(np.maximum(inner, 0.0)) / np.maximum(squares, 1.0)
    best = int(np.argmax(gains))
    duty = float(widths[0, best % (cells - 1)]) / cells
    # Size, period, where it begins and how long it is.
    criterion = 4 * math.log(n) - float(gains.flat[best])
    return _Fit("pulsed", criterion, period=float(period), duty=duty)


def _running(cells: Floats) -> Floats:
    """Sums before each place of two turns, shape (2 * cells + 1,)."""
    return np.concatenate([[0.0], np.cumsum(np.tile(cells, 2))])
