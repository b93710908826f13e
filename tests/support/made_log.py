"""What does a log look like that we know every byte of? Events made one by one, good and bad.

`Maker` keeps a producer's chain (seq, prev, model) and hands out entries; a test decides which of
them it appends, in which order, and what it does to their bytes.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from roundlog.case import Case
from roundlog.encoding import Frame, digest, encode_frame
from roundlog.events import (
    NO_DIGEST,
    AuditSampled,
    Event,
    ModelGenesis,
    ModelSchema,
    RoundCommitted,
    RunOpened,
    Tail,
    UnknownEvent,
)
from roundlog.fold import difference
from roundlog.log.port import Entry
from roundlog.log.segments import list_segments
from roundlog.log.writer import SegmentWriter
from roundlog.tensors import schema_of

START = datetime(2026, 1, 1, tzinfo=UTC)


class Maker:
    """Makes the events of one run and producer, each following the one before."""

    def __init__(
        self, *, run: str = "run", producer: str = "server", parameters: int = 8, seed: int = 1
    ) -> None:
        self.run, self.producer = run, producer
        self.schema = schema_of({"weights": np.zeros(parameters, dtype=np.float32)})
        self.model = np.random.default_rng(seed).standard_normal(parameters, dtype=np.float32)
        self._rng = np.random.default_rng([seed, 1])
        self.seq, self.prev, self.round = 0, NO_DIGEST, 0

    def make(
        self, kind: type[Event], tails: dict[str, bytes] | None = None, **fields: Any
    ) -> Entry:
        """One event of any kind; `seq` and `prev` may be overridden, and then nothing advances."""
        tails = tails or {}
        erasable = {"text"} & tails.keys()
        advances = "seq" not in fields
        envelope: dict[str, Any] = {
            "seq": self.seq,
            "prev": self.prev,
            "source": self.producer,
            "subject": self.run,
            "time": START + timedelta(seconds=fields.get("seq", self.seq)),
            "sha256": digest(*[part for name, part in tails.items() if name not in erasable]),
            "tails": tuple(
                Tail(name=n, bytes=len(part), erasable=digest(part) if n in erasable else None)
                for n, part in tails.items()
            ),
        }
        values = envelope | fields
        values["id"] = f"{values['subject']}/{values['source']}/{values['seq']}"
        event = kind(**values)
        entry = Entry(event, Frame(event.head(), b"".join(tails.values())))
        if advances:
            self.seq, self.prev = self.seq + 1, digest(entry.frame.head)
        return entry

    def opening(self, *, strata: int = 2) -> list[Entry]:
        """run.opened, model.schema and model.genesis."""
        names = tuple(f"stratum-{index}" for index in range(strata))
        return [
            self.make(RunOpened, framework="made", strata=names),
            self.make(
                ModelSchema,
                {"texts": b'{"labels":["a","b"]}'},
                layout=self.schema,
                digest=self.schema.digest,
                architecture="made",
            ),
            self.make(
                ModelGenesis,
                {"weights": self.model.tobytes()},
                schema_digest=self.schema.digest,
                digest=self.schema.model_digest(self.model),
            ),
        ]

    def commit(
        self,
        *,
        delta: bytes | None = None,
        strata: bytes = b"\1\0\0\0\2\0\0\0",
        **fields: Any,
    ) -> Entry:
        """round.committed for the next round, a random step; `delta` overrides its bytes."""
        after = self.model + self._rng.standard_normal(self.model.size, dtype=np.float32)
        step = difference(self.model, after, self.schema)
        values: dict[str, Any] = {
            "round": self.round,
            "cohort_size": 100,
            "schema_digest": self.schema.digest,
            "pre_digest": self.schema.model_digest(self.model),
            "post_digest": self.schema.model_digest(after),
            "patched": step.patched,
            "defence_scores": {"norm": 0.5},
        }
        tails = {
            "delta": step.delta if delta is None else delta,
            "patch": step.patch,
            "strata": strata,
        }
        entry = self.make(RoundCommitted, tails, **(values | fields))
        self.model, self.round = after, self.round + 1
        return entry

    def audit(self) -> Entry:
        """audit.sampled on the current model."""
        return self.make(
            AuditSampled,
            {"text": b"salt" * 4 + b'{"prompt":"hello"}'},
            round=self.round,
            item=0,
            category="news",
            answer=3,
            scores={"margin": 0.4, "confidence": 0.9},
            model_digest=self.schema.model_digest(self.model),
            inclusion_probability=0.01,
        )

    def unknown(self) -> Entry:
        """An event of a type that this version does not know."""
        return self.make(
            UnknownEvent,
            type="fl.weather.observed.v1",
            dataschema="urn:roundlog:fl.weather.observed.v1",
            round="not a number",
        )

    def rounds(self, count: int) -> list[Entry]:
        """Rounds, each followed by an audit."""
        made = []
        for _ in range(count):
            made += [self.commit(), self.audit()]
        return made


def write(case: Case, entries: Iterable[Entry], *, seal: bool = False) -> None:
    """Appends to the case's segments, as a recorder would."""
    writers: dict[tuple[str, str], SegmentWriter] = {}
    for entry in entries:
        key = (entry.event.run, entry.event.producer)
        if key not in writers:
            directory = case.segments / key[0] / key[1]
            writers[key] = SegmentWriter(directory, run=key[0], producer=key[1])
        writers[key].append(entry)
    for writer in writers.values():
        writer.close(seal=seal)


def append_raw(case: Case, *stretches: bytes, partition: str = "run/server") -> None:
    """Puts bytes behind the last event of a producer's heads file, whatever they are."""
    with list_segments(case.segments / partition)[-1].heads.open("ab") as file:
        file.write(b"".join(stretches))


def last_heads(case: Case, partition: str = "run/server") -> Path:
    """The heads file that is written last."""
    return list_segments(case.segments / partition)[-1].heads


def on_disk(entry: Entry) -> bytes:
    """The bytes of an event without a delta, as they stand in a heads file."""
    return encode_frame(entry.frame)
