"""A process that appends events and says after each batch how many are acknowledged.

Run by tests that kill it: `python append_until_killed.py embedded DIRECTORY` or `… kafka BOOTSTRAP
TOPIC`, then how many events at most.
"""

import sys
from pathlib import Path

from made_log import Maker

from roundlog.log.address import KafkaAddress, connector
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.port import Log

BATCH = 3


def main(kind: str, *arguments: str) -> None:
    *place, count = arguments
    log: Log
    if kind == "embedded":
        log = EmbeddedLog(Path(place[0]))
    else:
        log = connector(KafkaAddress((place[0],), place[1]))()
    maker = Maker(parameters=1000)
    done = 0
    while done < int(count):
        log.append([maker.commit() for _ in range(BATCH)])
        done += BATCH
        print(done, flush=True)
    log.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
