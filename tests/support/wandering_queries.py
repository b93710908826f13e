"""Hits of many queries on the models of a made run: each query is won for a while, and lost again.

Query i is won by model t where climb(t) + wander(t) + own_i(t) exceeds its threshold. Thresholds
are normal; `wander` is common to all queries, `own` is each query's alone, both autoregressive.
With `own` at 0 every model errs as its neighbours do; with much of it queries flicker, each for
itself, and the extremes of a sample's path lie apart from those of all queries.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

Hits = NDArray[np.bool_]
Floats = NDArray[np.float64]


def wandering_hits(
    seed: int,
    *,
    models: int = 400,
    queries: int = 12_000,
    width: float = 0.1,
    common: float = 0.05,
    own: float = 0.2,
    memory: float = 20.0,
) -> Hits:
    """Hits, shape (models, queries).

    Args:
        width: Share of the run in which the climb gains one standard deviation of thresholds.
        common: Standard deviation of the common wandering, in the same unit.
        own: The part of a query's standing that wanders alone; 1 is all of it.
        memory: Correlation time of both, in models.
    """
    rng = np.random.default_rng(seed)
    t = np.arange(models) / models
    climb = np.clip((t - 0.45) / width, -4, 3) + common * _wander(rng, (models, 1), memory)[:, 0]
    thresholds = np.sqrt(1 - own**2) * rng.standard_normal(queries)
    found: Hits = climb[:, None] + own * _wander(rng, (models, queries), memory) >= thresholds
    return found


def _wander(rng: np.random.Generator, shape: tuple[int, int], memory: float) -> Floats:
    """Autoregressive series along the first axis, each of variance 1 from its beginning."""
    keep = np.exp(-1 / memory)
    steps = np.sqrt(1 - keep**2) * rng.standard_normal(shape)
    steps[0] /= np.sqrt(1 - keep**2)
    series: Floats = lfilter([1], [1, -keep], steps, axis=0)
    return series
