"""What does ingest do behind a topic, where no broker is needed to see it? A topic in memory.

It stands where `KafkaLog` stands and hands out the records that it was made of: one partition,
offsets from 0. Whatever is about brokers, connections or retention is tested on a real Kafka.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

from ingest import service
from roundlog.encoding import decode_frame, encode_frame
from roundlog.errors import FrameError
from roundlog.log.port import RAW_LIMIT, Entry, Record

SOURCE = "kafka://127.0.0.1:1/handed"
"""To be given to `ingest_case` inside `handed`; nobody connects to it."""

ORIGIN = "cluster/topic-id/0"


@dataclass(frozen=True)
class Identity:
    """As `roundlog.log.kafka.TopicIdentity`, without loading the client."""

    cluster_id: str = "cluster"
    topic: str = "handed"
    topic_id: str = "topic-id"
    partitions: tuple[str, ...] = ("0",)


class HandedTopic:
    """One partition of the given values."""

    def __init__(self, values: Iterable[bytes]) -> None:
        self._values = list(values)
        self._reached = 0

    def identity(self) -> Identity:
        return Identity()

    def read(
        self,
        positions: Mapping[str, int],
        *,
        max_records: int = 512,
        max_bytes: int = 4_000_000,
        timeout_s: float = 0.05,
    ) -> list[Record]:
        records: list[Record] = []
        for offset in range(positions["0"], len(self._values)):
            record = _record(offset, self._values[offset])
            size = sum(one.size for one in records) + record.size
            if records and (len(records) >= max_records or size > max_bytes):
                break
            records.append(record)
        self._reached = positions["0"] + len(records)
        return records

    def reached(self) -> dict[str, int]:
        return {"0": self._reached}

    def end(self) -> dict[str, int]:
        return {"0": len(self._values)}

    def close(self) -> None:
        pass


@contextmanager
def handed(values: Iterable[bytes]) -> Iterator[None]:
    """Whoever ingests from `SOURCE` meanwhile gets these values."""
    held = list(values)

    def connector(address: object) -> Callable[[], HandedTopic]:
        return lambda: HandedTopic(held)

    with mock.patch.object(service, "connector", connector):
        yield


def values_of(entries: Iterable[Entry]) -> list[bytes]:
    """Entries as a producer sends them."""
    return [encode_frame(entry.frame) for entry in entries]


def _record(offset: int, value: bytes) -> Record:
    try:
        frame, end = decode_frame(value)
        if end != len(value):
            raise FrameError("lengths", f"{len(value) - end} bytes behind the frame")
    except FrameError as error:
        raw, reason, detail = value[:RAW_LIMIT], error.reason, str(error)
        return Record("0", offset, offset + 1, len(value), None, None, raw, reason, detail)
    return Record("0", offset, offset + 1, len(value), frame)
