"""What could this machine do at best? Limits that every figure is held against, same run."""

import os
import time
from pathlib import Path

import numpy as np
from figures import MIB


def memory_read_mb_s(mib: int = 512, repeats: int = 5) -> float:
    """Bytes a core reads from memory, MB/s: the best of a few float32 dot products."""
    data = np.ones(mib * MIB // 4, dtype=np.float32)
    rows = data.reshape(-1, 4096)
    weights = np.ones(4096, dtype=np.float32)
    best = 0.0
    for _ in range(repeats):
        start = time.perf_counter()
        rows @ weights
        best = max(best, data.nbytes / (time.perf_counter() - start) / 1e6)
    return best


def durable_append_mb_s(folder: Path, batch: int, total: int) -> float:
    """MB/s of a plain loop of write and fdatasync, `batch` bytes at a time."""
    payload = os.urandom(batch)
    path = folder / "raw-append"
    start = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(total // batch):
            file.write(payload)
            os.fdatasync(file.fileno())
    elapsed = time.perf_counter() - start
    path.unlink()
    return total / elapsed / 1e6
