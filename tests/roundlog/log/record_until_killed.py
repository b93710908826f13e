"""A server that records rounds to Kafka through a spool, until a test kills it.

`python record_until_killed.py TARGET SPOOL FIRST_ROUND`; says how many rounds it has committed.
"""

import sys
import time

import numpy as np

from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

PARAMETERS = 500


def main(target: str, spool: str, first: int) -> None:
    recorder = Recorder(target, run="run", spool=spool, on_error="raise")
    schema = schema_of({"weights": np.zeros(PARAMETERS, np.float32)})
    model = np.full(PARAMETERS, first, np.float32)
    recorder.genesis(schema, model, architecture="none", round=first)
    for t in range(first, 1_000_000):
        model = model + np.float32(1)
        recorder.commit(model, round=t, cohort_size=10)
        recorder.flush()
        print(t + 1, flush=True)
        time.sleep(0.002)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
