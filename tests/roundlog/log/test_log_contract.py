"""What must every log of ours do? One suite; each log inherits it and says how it is broken."""

import os
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path

import kafka_fixtures
import pytest
from kafka_node import KafkaCluster
from made_log import Maker

from roundlog.encoding import encode_frame
from roundlog.errors import OversizedEventError
from roundlog.events import ModelGenesis, UnknownEvent, check_side, parse_head
from roundlog.log.embedded import EmbeddedLog
from roundlog.log.kafka import KafkaLog
from roundlog.log.port import Entry, Log, Record
from roundlog.log.segments import list_segments

SUPPORT = Path(kafka_fixtures.__file__).parent
APPENDER = Path(__file__).with_name("append_until_killed.py")


def read_all(log: Log, *, at_least: int = 0, within_s: float = 20.0) -> list[Record]:
    """Every record up to the present end, and at least so many."""
    positions = dict.fromkeys(log.end(), 0)
    records: list[Record] = []
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        end = log.end()
        if len(records) >= at_least and all(positions.get(p, 0) >= end[p] for p in end):
            break
        for record in log.read({p: positions.get(p, 0) for p in end}, timeout_s=0.2):
            assert record.offset >= positions[record.partition]
            positions[record.partition] = record.next_offset
            records.append(record)
    return records


def contents(records: Sequence[Record]) -> list[tuple[bytes, bytes]]:
    """Head and side bytes of whole records."""
    return [(record.frame.head, bytes(record.side())) for record in records if record.frame]


def given(entries: Sequence[Entry]) -> list[tuple[bytes, bytes]]:
    return [(entry.frame.head, entry.frame.side) for entry in entries]


def sequence(records: Sequence[Record]) -> list[int]:
    return [parse_head(record.frame.head).seq for record in records if record.frame]


class LogContract:
    """Inherited by one class for each log."""

    @abstractmethod
    def open(self) -> Log:
        """Another log object over the same events."""

    @abstractmethod
    def arguments(self) -> list[str]:
        """How `append_until_killed.py` finds the same events."""

    @abstractmethod
    def flip(self, record: Record, needle: bytes) -> None:
        """Turns one bit of `needle`, which stands in this record, where the log keeps it."""

    @abstractmethod
    def store_cut(self, log: Log, entry: Entry, at: int) -> None:
        """Makes the log hold the first `at` bytes of an event's frame, behind what it holds."""

    @pytest.fixture
    def fresh_log(self) -> Iterator[Log]:
        log = self.open()
        yield log
        log.close()

    @pytest.fixture
    def maker(self) -> Maker:
        return Maker()

    def appender(self, count: int) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(APPENDER), *self.arguments(), str(count)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONPATH": str(SUPPORT), "OMP_NUM_THREADS": "1"},
        )

    def test_an_empty_log_has_nothing_to_read(self, fresh_log: Log) -> None:
        assert fresh_log.read(dict.fromkeys(fresh_log.end(), 0), timeout_s=0) == []
        assert set(fresh_log.end().values()) <= {0}

    def test_events_come_back_in_append_order_byte_for_byte(
        self, fresh_log: Log, maker: Maker
    ) -> None:
        entries = maker.opening() + maker.rounds(20)
        for start in range(0, len(entries), 7):
            fresh_log.append(entries[start : start + 7])
        records = read_all(fresh_log)
        assert contents(records) == given(entries)
        for record in records:
            assert record.frame is not None
            check_side(parse_head(record.frame.head), record.side())

    def test_offsets_rise_and_seq_has_no_holes(self, fresh_log: Log, maker: Maker) -> None:
        fresh_log.append(maker.opening() + maker.rounds(30))
        records = read_all(fresh_log)
        offsets = [record.offset for record in records]
        assert offsets == sorted(set(offsets))
        assert all(record.offset < record.next_offset for record in records)
        assert sequence(records) == list(range(63))
        assert len({record.partition for record in records}) == 1

    def test_what_was_appended_can_be_read_at_once(self, fresh_log: Log, maker: Maker) -> None:
        reader = self.open()
        for _ in range(5):
            entry = maker.commit()
            fresh_log.append([entry])
            end = reader.end()
            assert contents(read_all(reader))[-1:] == given([entry])
            assert reader.end() == end
        reader.close()

    def test_reading_can_begin_at_any_record(self, fresh_log: Log, maker: Maker) -> None:
        entries = maker.opening() + maker.rounds(3)
        fresh_log.append(entries)
        records = read_all(fresh_log)
        partition = records[0].partition
        for index, record in reversed(list(enumerate(records))):
            rest = fresh_log.read({partition: record.offset}, timeout_s=5)
            assert contents(rest) == given(entries[index:])
        assert fresh_log.read({partition: records[-1].next_offset}, timeout_s=0) == []

    def test_a_batch_is_bounded_in_records_and_bytes_but_never_empty(
        self, fresh_log: Log, maker: Maker
    ) -> None:
        fresh_log.append(maker.opening() + maker.rounds(10))
        records = read_all(fresh_log)
        partition, sizes = records[0].partition, [record.size for record in records]
        assert len(fresh_log.read({partition: 0}, max_records=4, timeout_s=5)) == 4
        assert len(fresh_log.read({partition: 0}, max_bytes=sum(sizes[:3]), timeout_s=5)) == 3
        assert len(fresh_log.read({partition: 0}, max_bytes=1, timeout_s=5)) == 1

    def test_a_partition_that_is_not_named_is_not_read(self, fresh_log: Log, maker: Maker) -> None:
        fresh_log.append(maker.opening())
        assert fresh_log.read({}, timeout_s=0) == []

    def test_two_runs_are_both_read_and_each_stays_in_order(self, fresh_log: Log) -> None:
        makers = [Maker(run=f"run-{index}", seed=index) for index in range(4)]
        for _ in range(3):
            fresh_log.append([maker.commit() for maker in makers for _ in range(2)])
        records = read_all(fresh_log)
        for index in range(4):
            mine = [
                parse_head(record.frame.head)
                for record in records
                if record.frame and parse_head(record.frame.head).run == f"run-{index}"
            ]
            assert [event.seq for event in mine] == list(range(6))

    def test_an_event_that_is_appended_twice_stands_there_twice(
        self, fresh_log: Log, maker: Maker
    ) -> None:
        entries = maker.rounds(2)
        fresh_log.append(entries)
        fresh_log.append(entries[1:2])
        assert contents(read_all(fresh_log)) == given([*entries, entries[1]])

    def test_an_oversized_event_is_refused_and_nothing_of_its_batch_is_appended(
        self, fresh_log: Log, maker: Maker
    ) -> None:
        before = maker.commit()
        fresh_log.append([before])
        fitting = maker.commit()
        giant = maker.make(
            ModelGenesis,
            {"weights": bytes(4_000_000)},
            schema_digest=maker.schema.digest,
            digest="0" * 64,
        )
        with pytest.raises(OversizedEventError, match=r"4,000,\d+ bytes .* 4,000,000"):
            fresh_log.append([fitting, giant])
        fresh_log.append([fitting])
        assert contents(read_all(fresh_log)) == given([before, fitting])

    def test_the_largest_event_that_is_allowed_comes_through(
        self, fresh_log: Log, maker: Maker
    ) -> None:
        empty = maker.make(
            ModelGenesis, {"weights": b""}, schema_digest="0" * 64, digest="0" * 64, seq=0
        )
        room = 4_000_000 - len(empty.frame) - len("3999000") + 1
        entry = maker.make(
            ModelGenesis, {"weights": os.urandom(room)}, schema_digest="0" * 64, digest="0" * 64
        )
        assert len(entry.frame) == 4_000_000
        fresh_log.append([entry])
        assert contents(read_all(fresh_log)) == given([entry])

    def test_an_unknown_type_is_stored_and_returned(self, fresh_log: Log, maker: Maker) -> None:
        entries = [maker.commit(), maker.unknown(), maker.commit()]
        fresh_log.append(entries)
        records = read_all(fresh_log)
        assert contents(records) == given(entries)
        assert records[1].frame is not None
        assert isinstance(parse_head(records[1].frame.head), UnknownEvent)

    def test_what_was_acknowledged_survives_kill_9_of_the_appender(self) -> None:
        for acknowledgements in (1, 30, 60):
            process = self.appender(1_000_000)
            assert process.stdout is not None
            for _ in range(acknowledgements):
                acknowledged = int(process.stdout.readline())
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            process.stdout.close()
            log = self.open()
            log.recover()
            found = sequence(read_all(log, at_least=acknowledged))
            last = found[::-1].index(0)  # the events of the process that was just killed
            assert found[len(found) - last - 1 :] == list(range(last + 1))
            assert last + 1 >= acknowledged
            log.close()

    def test_a_log_goes_on_after_its_appender_was_killed(self, maker: Maker) -> None:
        process = self.appender(1_000_000)
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.kill()
        process.wait()
        process.stdout.close()
        log = self.open()
        log.recover()
        before = read_all(log)
        entries = maker.rounds(3)
        log.append(entries)
        assert contents(read_all(log)) == contents(before) + given(entries)
        log.close()

    def test_recovering_a_whole_log_changes_nothing(self, fresh_log: Log, maker: Maker) -> None:
        entries = maker.opening() + maker.rounds(2)
        fresh_log.append(entries)
        again = fresh_log.recover()
        assert (again.truncated_bytes, again.damaged_bytes) == (0, 0)
        assert contents(read_all(fresh_log)) == given(entries)

    def test_a_tailing_reader_gets_each_event_once_while_another_process_appends(self) -> None:
        reader = self.open()
        process = self.appender(300)
        positions = dict.fromkeys(reader.end(), 0)
        found: list[int] = []
        deadline = time.monotonic() + 30
        while len(found) < 300 and time.monotonic() < deadline:
            positions = dict.fromkeys(reader.end(), 0) | positions
            for record in reader.read(positions, timeout_s=0.05):
                assert record.frame is not None, record.detail
                check_side(parse_head(record.frame.head), record.side())
                positions[record.partition] = record.next_offset
                found.append(parse_head(record.frame.head).seq)
        assert process.wait(20) == 0
        assert process.stdout is not None
        process.stdout.close()
        assert found == list(range(300))
        reader.close()

    def test_a_flipped_byte_is_reported_with_its_offset_and_reading_goes_on(
        self, fresh_log: Log, maker: Maker
    ) -> None:
        entries = maker.rounds(5)
        fresh_log.append(entries)
        victim = read_all(fresh_log)[4]
        assert victim.frame is not None
        self.flip(victim, victim.frame.head)
        reader = self.open()
        records = read_all(reader)
        damaged = [record for record in records if record.frame is None]
        assert [(record.offset, record.reason) for record in damaged] == [
            (victim.offset, "checksum")
        ]
        assert "CRC-32C" in damaged[0].detail
        assert len(damaged[0].raw) >= len(victim.frame.head)
        assert sequence(records) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
        reader.close()

    def test_a_frame_cut_at_any_byte_never_passes_as_an_event(self, maker: Maker) -> None:
        log = self.open()
        log.append(maker.opening())
        entry = maker.audit()
        size = len(encode_frame(entry.frame))
        for at in range(size):
            self.store_cut(log, entry, at)
        records = read_all(log)
        assert sequence(records) == [0, 1, 2]
        assert {record.reason for record in records if record.frame is None} <= {"truncated"}
        log.close()


class TestEmbeddedLog(LogContract):
    """A directory of segments."""

    @pytest.fixture(autouse=True)
    def place(self, tmp_path: Path) -> None:
        self.root = tmp_path / "segments"

    def open(self) -> Log:
        return EmbeddedLog(self.root)

    def arguments(self) -> list[str]:
        return ["embedded", str(self.root)]

    def flip(self, record: Record, needle: bytes) -> None:
        flip_in(list_segments(self.root / record.partition)[0].heads, needle)

    def store_cut(self, log: Log, entry: Entry, at: int) -> None:
        log.close()
        heads = list_segments(self.root / "run/server")[-1].heads
        whole = heads.read_bytes()
        try:
            heads.write_bytes(whole + encode_frame(entry.frame)[:at])
            torn = EmbeddedLog(self.root)
            tail = torn.torn_tail("run/server")
            assert (tail is None) == (at == 0)
            assert sequence(read_all_whole(torn)) == [0, 1, 2]
            assert torn.recover().truncated_bytes == at
            assert heads.read_bytes() == whole
            torn.close()
        finally:
            heads.write_bytes(whole)


def read_all_whole(log: EmbeddedLog) -> list[Record]:
    """Every record of a log with a torn tail, which has bytes behind its last record."""
    return log.read(dict.fromkeys(log.partitions(), 0), timeout_s=0)


@pytest.mark.kafka
class TestKafkaLog(LogContract):
    """A topic of a real broker."""

    @pytest.fixture(autouse=True)
    def place(self, kafka: KafkaCluster, topic: str) -> None:
        self.kafka, self.topic = kafka, topic

    def open(self) -> Log:
        return KafkaLog(self.kafka.bootstrap, self.topic)

    def arguments(self) -> list[str]:
        return ["kafka", self.kafka.bootstrap, self.topic]

    def flip(self, record: Record, needle: bytes) -> None:
        partition = self.kafka.node.folder / "data" / f"{self.topic}-{record.partition}"
        flip_in(partition / "00000000000000000000.log", needle)

    def store_cut(self, log: Log, entry: Entry, at: int) -> None:
        assert isinstance(log, KafkaLog)
        log.send([(entry.event.run, encode_frame(entry.frame)[:at])])


def flip_in(path: Path, needle: bytes) -> None:
    """Turns one bit in the middle of `needle` in a file that others have open."""
    at = path.read_bytes().index(needle) + len(needle) // 2
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 4]))
