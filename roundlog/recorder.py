"""How does a server record its rounds without noticing? Three lines, and nothing changes.

    with Recorder("case", run="assistant-2026") as recorder:
        recorder.genesis(schema, weights, architecture="mine")
        for t in ...: recorder.commit(weights, round=t, cohort_size=k)

The recorder copies what it is given and never changes a number. Events go through a queue to a
thread that writes them durably; a slow disk or an absent broker fills the queue, not the round.
When the queue is full, events are left out and the hole is recorded as `recorder.gap`, unless
the operator chose `on_error="raise"`: then the caller waits, and errors are raised.

To Kafka, events are first spooled to segments on local disk and forwarded from there, so a
broker that is away, or a server that is killed, costs nothing that was recorded.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError

from roundlog.case import Case
from roundlog.encoding import Frame, canonical_json, digest
from roundlog.errors import OversizedEventError, RecorderError
from roundlog.events import (
    ContinuityBreak,
    Event,
    ModelGenesis,
    ModelSchema,
    RecorderGap,
    RoundCommitted,
    Tail,
    parse_head,
)
from roundlog.fold import difference
from roundlog.log.port import Entry
from roundlog.log.segments import list_segments, scan_heads
from roundlog.log.sink import Sink
from roundlog.log.writer import SegmentWriter
from roundlog.tensors import Array, Bytes, TensorSchema

logger = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)
OnError = Literal["warn", "raise"]
TailBytes = bytes | memoryview | NDArray[Any]


class Recorder:
    """Records one run of one producer, into a case directory or through a spool to Kafka.

    Args:
        target: A case directory (made where it is missing).
        run: Name of the run; names a directory, so letters, digits, `.`, `_`, `-`.
        producer: Name of this server among those that record the run.
        on_error: `warn` never blocks and never raises in a round; `raise` waits and raises.

    Raises:
        LogLockedError: Another process records the same run and producer.
    """

    def __init__(
        self,
        target: Path | str,
        *,
        run: str,
        producer: str = "server",
        on_error: OnError = "warn",
    ) -> None:
        self.run, self.producer, self.on_error = run, producer, on_error
        directory = Case.create(target).segments / run / producer
        writer = SegmentWriter(directory, run=run, producer=producer)
        self._sink = Sink(writer, block=on_error == "raise")
        self._seq, self._prev = writer.next_seq, writer.last_digest
        self._schema: TensorSchema | None = None
        self._model: Bytes | None = None
        self._digest: str | None = _last_model_digest(directory) if self._seq else None
        self._next_round: int | None = None
        self._lost_from: int | None = None

    def record(
        self,
        kind: type[E],
        *,
        time: datetime | None = None,
        tails: Mapping[str, TailBytes] | None = None,
        erasable: frozenset[str] = frozenset(),
        **fields: Any,
    ) -> None:
        """Records one fact; the envelope, digests and lengths are filled in here.

        Args:
            tails: Side bytes by name, in the order in which they shall stand.
            erasable: Names of tails that begin with 16 salt bytes and may be erased later.
            fields: The fields of `kind`.

        Raises:
            RecorderError: A field is missing, unknown or out of its domain.
            OversizedEventError: The event does not fit a frame.
            LogError: With `on_error="raise"`, what the log said.
        """
        if self._lost_from is not None and not issubclass(kind, RecorderGap | ModelGenesis):
            self._count_lost()
            return
        try:
            entry = self._entry(kind, time, tails or {}, erasable, fields)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise RecorderError(f"{kind.__name__}.{where}: {first['msg']}") from error
        if self._sink.put(entry):
            self._seq, self._prev = self._seq + 1, digest(entry.frame.head)
        else:
            self._count_lost()

    def genesis(
        self,
        schema: TensorSchema,
        model: Array,
        *,
        architecture: str,
        config: Mapping[str, JsonValue] | None = None,
        texts: Mapping[str, JsonValue] | None = None,
        round: int = 0,
        quantiser: Mapping[str, JsonValue] | None = None,
        time: datetime | None = None,
    ) -> None:
        """Records the model's layout and the model as recording begins, or begins again.

        A recorder that was closed and opened again continues quietly where the model is the one
        that it recorded last; where it is another, that is recorded as a continuity break.

        Args:
            model: W_t, any shape, `schema.nbytes` bytes.
            texts: Words for people: `vocabulary` (one a token) and `labels` (one a class).
            round: t of this model.
        """
        before = self._digest
        self._schema = schema
        self._model = np.ascontiguousarray(model).reshape(-1).view(np.uint8).copy()
        self._digest = schema.model_digest(self._model)
        self._next_round = round
        if before == self._digest:
            return
        if before is not None:
            self.record(
                ContinuityBreak,
                time=time,
                reason="the server came back with another model than the one it last recorded",
                round=round,
                expected=before,
                got=self._digest,
            )
        self.record(
            ModelSchema,
            time=time,
            tails={"texts": canonical_json(dict(texts))} if texts else {},
            layout=schema,
            digest=schema.digest,
            architecture=architecture,
            config=dict(config or {}),
        )
        self._record_model(round, dict(quantiser or {}), time)

    def commit(
        self,
        model: Array,
        *,
        round: int,
        cohort_size: int,
        stratum_counts: Array | None = None,
        time: datetime | None = None,
        **fields: Any,
    ) -> None:
        """Records that round t turned the last model into this one, bit for bit.

        Args:
            model: W_{t+1}, any shape, `schema.nbytes` bytes. It is copied.
            round: t.
            stratum_counts: Devices of each stratum in the cohort, in the order of `run.opened`.
            fields: Further fields of `RoundCommitted`, such as `aggregate_norm` or `server`.

        Raises:
            RecorderError: `genesis` was not called before, or a field is wrong.
        """
        if self._schema is None or self._model is None or self._digest is None:
            raise RecorderError("commit() before genesis(): the recorder must know W_0 first")
        schema = self._schema
        after = np.ascontiguousarray(model).reshape(-1).view(np.uint8)
        step = difference(self._model, after, schema)
        post = schema.model_digest(after)
        pre, self._digest, self._model = self._digest, post, after.copy()
        if self._lost_from is not None and not self._recover_from_loss(round, pre, time):
            return
        self._next_round = round
        tails: dict[str, TailBytes] = {"delta": step.delta, "patch": step.patch}
        if stratum_counts is not None:
            tails["strata"] = np.ascontiguousarray(stratum_counts, dtype="<u4")
        if "delta_norm" not in fields:
            fields["delta_norm"] = _norm(step.delta, schema)
        self.record(
            RoundCommitted,
            time=time,
            tails=tails,
            round=round,
            cohort_size=cohort_size,
            schema_digest=schema.digest,
            pre_digest=pre,
            post_digest=post,
            patched=step.patched,
            **fields,
        )
        self._next_round = round + 1

    def flush(self) -> None:
        """Waits until everything recorded so far is durable.

        Raises:
            LogError: The disk refused.
        """
        self._sink.flush()

    def close(self) -> None:
        """Makes everything durable, seals the open segment and gives the lock back.

        Raises:
            LogError: With `on_error="raise"`, what the log said last.
        """
        self._sink.close(raise_errors=self.on_error == "raise")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _entry(
        self,
        kind: type[Event],
        time: datetime | None,
        tails: Mapping[str, TailBytes],
        erasable: frozenset[str],
        fields: Mapping[str, Any],
    ) -> Entry:
        if unknown := set(tails) - kind.tail_names:
            raise RecorderError(f"{kind.__name__} has no tail named {sorted(unknown)}")
        parts = {name: _raw(data) for name, data in tails.items()}
        covered = [part for name, part in parts.items() if name not in erasable]
        event = kind(
            id=f"{self.run}/{self.producer}/{self._seq}",
            source=self.producer,
            subject=self.run,
            time=time or datetime.now(UTC),
            seq=self._seq,
            prev=self._prev,
            sha256=digest(*covered),
            tails=tuple(
                Tail(
                    name=name,
                    bytes=len(part),
                    erasable=digest(part) if name in erasable else None,
                )
                for name, part in parts.items()
            ),
            **fields,
        )
        return Entry(event, Frame(event.head(), b"".join(parts.values())))

    def _record_model(
        self, round: int, quantiser: dict[str, JsonValue], time: datetime | None
    ) -> None:
        if self._schema is None or self._model is None:
            raise RecorderError("no model to record: genesis() comes first")
        self.record(
            ModelGenesis,
            time=time,
            tails={"weights": self._model},
            round=round,
            schema_digest=self._schema.digest,
            digest=self._digest,
            quantiser=quantiser,
        )

    def _count_lost(self) -> None:
        if self._lost_from is None:
            self._lost_from = self._next_round or 0
            logger.warning(
                "the recorder's queue is full from round %d on; training goes on, and rounds "
                "are left out until there is room again",
                self._lost_from,
            )

    def _recover_from_loss(self, round: int, pre: str, time: datetime | None) -> bool:
        """After a loss: record the hole and the whole model, so that rebuilding can go on."""
        if self._schema is None or not self._sink.has_room():
            return False
        lost_from, self._lost_from = self._lost_from, None
        self.record(
            RecorderGap,
            time=time,
            reason="the recorder's queue was full",
            expected=lost_from,
            got=round + 1,
        )
        self._record_model(round + 1, {}, time)
        self._next_round = round + 1
        return False


def _raw(data: TailBytes) -> bytes | memoryview:
    if isinstance(data, bytes | memoryview):
        return data
    if data.dtype.byteorder == ">":
        data = data.astype(data.dtype.newbyteorder("<"))
    return memoryview(np.ascontiguousarray(data).reshape(-1).view(np.uint8))


def _norm(delta: bytes, schema: TensorSchema) -> float | None:
    if schema.uniform is None or schema.uniform.kind != "f":
        return None
    values = np.frombuffer(delta, dtype=schema.uniform)
    with np.errstate(all="ignore"):
        norm = float(np.sqrt(np.vdot(values, values).astype(np.float64)))
    return norm if np.isfinite(norm) else None


def _last_model_digest(directory: Path) -> str | None:
    """Digest of the model that the log ends with, read from the last round or genesis in it."""
    for segment in reversed(list_segments(directory)):
        for stored in reversed(list(scan_heads(segment.heads.read_bytes()))):
            if stored.frame is None:
                continue
            event = parse_head(stored.frame.head)
            if isinstance(event, RoundCommitted):
                return event.post_digest
            if isinstance(event, ModelGenesis):
                return event.digest
    return None


__all__ = ["OversizedEventError", "Recorder"]
