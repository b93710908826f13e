"""How does a server record its rounds without noticing? Three lines, and nothing changes.

    with Recorder("case", run="assistant-2026") as recorder:
        recorder.genesis(schema, weights, architecture="mine")
        for t in ...: recorder.commit(weights, round=t, cohort_size=k)

The recorder copies what it is given and never changes a number. Events go through a queue to a
thread that writes them durably; a slow disk or an absent broker fills the queue, not the round.
When the queue is full, or the disk refuses, events are left out and the hole is recorded as
`recorder.gap` once there is room again, unless the operator chose `on_error="raise"`: then the
caller waits, and errors are raised.

To Kafka (`kafka://HOST:PORT/TOPIC`), events are first spooled to segments on local disk and
forwarded from there, so a broker that is away, or a server that is killed, costs nothing that was
recorded. The Kafka client is loaded when the first event is sent, not with this module.
"""

import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue, ValidationError

from roundlog.case import Case
from roundlog.encoding import Frame, canonical_json, check_size, digest
from roundlog.errors import (
    HeadError,
    LogError,
    OversizedEventError,
    RecorderError,
    RoundlogError,
)
from roundlog.events import (
    OWNER,
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
from roundlog.log.address import KafkaAddress, connector, is_kafka
from roundlog.log.forward import CONNECT_S, Forwarder, default_spool, open_spool
from roundlog.log.port import Entry
from roundlog.log.segments import list_segments, scan_heads
from roundlog.log.sink import QUEUE_BYTES, Sink
from roundlog.log.writer import SegmentWriter
from roundlog.tensors import Array, Bytes, TensorSchema

logger = logging.getLogger(__name__)

E = TypeVar("E", bound=Event)
OnError = Literal["warn", "raise"]
TailBytes = bytes | bytearray | memoryview | NDArray[Any]

ENVELOPE = frozenset({"id", "source", "subject", "seq", "prev", "sha256", "tails"})
COMPUTED = frozenset({"schema_digest", "pre_digest", "post_digest", "patched"})

LABEL_LIMIT = 256

# A broker that restarts is back within 10 s; longer than this, the spool is the better place.
DRAIN_S = 30.0


class Recorder:
    """Records one run of one producer, into a case directory or through a spool to Kafka.

    A run may be recorded in several pieces: `seq` and `prev` go on from what the directory, or the
    spool, knows. Do not delete the spool of a run that goes on: its next recorder would count
    from 0 again, and ingest would have to report its events as equivocation. (A program that
    records the very same bytes again, as a simulation with its seed does, may: ingest drops
    identical copies.)

    Args:
        target: A case directory (made where it is missing), or `kafka://HOST:PORT/TOPIC`.
        run: Name of the run; names a directory, so letters, digits, `.`, `_`, `-`.
        producer: Name of this server among those that record the run.
        on_error: `warn` never blocks and never raises in a round; `raise` waits and raises.
        spool: To Kafka only: a directory that survives a restart of this server, by default
            `${XDG_STATE_HOME:-~/.local/state}/roundlog/spool/` and the topic's address.
        drain_s: To Kafka only: how long `close` waits for the broker, in seconds.
        queue_bytes: Memory for events that are not on disk yet.

    Raises:
        AddressError: The target begins with `kafka://` and is no address.
        LogLockedError: Another process records the same run and producer.
        RecorderError: The producer's name is the one that the owner of a case speaks under.
    """

    def __init__(
        self,
        target: Path | str,
        *,
        run: str,
        producer: str = "server",
        on_error: OnError = "warn",
        spool: Path | str | None = None,
        drain_s: float = DRAIN_S,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        if producer == OWNER:
            # Ingest refuses whatever comes in under this name; every round would be lost to it.
            raise RecorderError(
                f"no recorder is called {OWNER!r}: people and detectors speak under this name. "
                f"Give it another one, such as 'server'"
            )
        self.run, self.producer, self.on_error = run, producer, on_error
        self._drain_s = drain_s
        self._forwarder: Forwarder | None = None
        before: str | None = None
        if is_kafka(target):
            address = KafkaAddress.parse(str(target))
            root = default_spool(address) if spool is None else Path(spool)

            def reopen() -> SegmentWriter:
                return open_spool(root, run, producer)[0]

            writer, end = open_spool(root, run, producer)
            before = end.model_digest if end is not None else None
            self._forwarder = Forwarder(
                root,
                run,
                producer,
                connect=connector(address, connect_s=CONNECT_S),
                target=str(address),
            )
        else:
            directory = Case.create(target).segments / run / producer

            def reopen() -> SegmentWriter:
                return SegmentWriter(directory, run=run, producer=producer)

            writer = reopen()
        self._directory = writer.directory
        self._sink = Sink(
            writer,
            reopen=reopen,
            block=on_error == "raise",
            limit=queue_bytes,
            written=self._forwarder.wake if self._forwarder is not None else lambda: None,
        )
        self._seq, self._prev = writer.next_seq, writer.last_digest
        self._schema: TensorSchema | None = None
        self._model: Bytes | None = None
        self._digest: str | None = _last_model_digest(self._directory) or before
        self._next_round: int | None = None
        self._lost_from: int | None = None
        self._architecture = ""
        self._config: dict[str, JsonValue] = {}
        self._texts: dict[str, JsonValue] = {}
        self._schema_lost = False
        self._closed = False
        self._one_at_a_time = threading.RLock()

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
            RecorderError: A field is missing, unknown or out of its domain, or the recorder was
                closed.
            OversizedEventError: The event does not fit a frame.
            LogError: With `on_error="raise"`, what the log said.
        """
        if own := sorted(ENVELOPE & fields.keys()):
            raise RecorderError(f"{kind.__name__}.{own[0]}: the recorder fills this in itself")
        with self._one_at_a_time:  # `seq` and `prev` are one chain, whichever thread records
            if self._closed:
                raise RecorderError(
                    f"{kind.__name__} after close(): open another recorder to record more"
                )
            if self._lost_from is not None and not issubclass(kind, RecorderGap | ModelGenesis):
                self._count_lost()
                return
            try:
                entry = self._entry(kind, time, tails or {}, erasable, fields)
            except ValidationError as error:
                first = error.errors(include_url=False)[0]
                where = ".".join(str(part) for part in first["loc"]) or "event"
                raise RecorderError(f"{kind.__name__}.{where}: {first['msg']}") from error
            check_size(entry.frame)
            if self._sink.put(entry):
                self._seq, self._prev = self._seq + 1, digest(entry.frame.head)
            else:
                self._schema_lost |= kind is ModelSchema
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

        Raises:
            RecorderError: A field is wrong. Nothing is known of the model then; call it again.
            TensorSchemaError: The model is not what the schema says.
        """
        weights = schema.as_bytes(model).copy()
        before = self._digest
        self._schema, self._model = schema, weights
        self._digest = schema.model_digest(weights)
        self._next_round = round
        if before == self._digest:
            return
        try:
            self._record_start(before, architecture, config or {}, texts or {}, quantiser, time)
        except RoundlogError:
            self._schema, self._model, self._digest = None, None, before
            raise

    def _record_start(
        self,
        before: str | None,
        architecture: str,
        config: Mapping[str, JsonValue],
        texts: Mapping[str, JsonValue],
        quantiser: Mapping[str, JsonValue] | None,
        time: datetime | None,
    ) -> None:
        schema, round = self._schema, self._next_round
        if schema is None or round is None:
            raise RecorderError("no model to record: genesis() comes first")
        if before is not None:
            self.record(
                ContinuityBreak,
                time=time,
                reason="the server came back with another model than the one it last recorded",
                round=round,
                expected=before,
                got=self._digest,
            )
        self._architecture = architecture
        self._config, self._texts = dict(config), dict(texts)
        self._record_schema(time)
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
            fields: Further fields of `RoundCommitted`, such as `aggregate_norm` or `server`. What
                is not finite is left out, since a model that diverges must not stop its server.

        Raises:
            RecorderError: `genesis` was not called before, or a field is wrong. Nothing was
                recorded: call it again with the same model.
            TensorSchemaError: The model is not what the schema says.
            OversizedEventError: With `on_error="raise"`, a delta that no frame holds.
        """
        if self._schema is None or self._model is None or self._digest is None:
            raise RecorderError("commit() before genesis(): the recorder must know W_0 first")
        schema = self._schema
        after = schema.as_bytes(model).copy()
        post = schema.model_digest(after)
        if self._lost_from is not None:
            self._model, self._digest, self._next_round = after, post, round + 1
            self._recover_from_loss(round + 1, time)
            return
        step = difference(self._model, after, schema)
        tails: dict[str, TailBytes] = {"delta": step.delta, "patch": step.patch}
        if stratum_counts is not None:
            tails["strata"] = _counts(stratum_counts)
        if own := sorted(COMPUTED & fields.keys()):
            raise RecorderError(f"RoundCommitted.{own[0]}: the recorder computes this itself")
        facts = {"delta_norm": _norm(step.delta, schema), **fields}
        self._next_round = round
        try:
            self.record(
                RoundCommitted,
                time=time,
                tails=tails,
                round=round,
                cohort_size=cohort_size,
                schema_digest=schema.digest,
                pre_digest=self._digest,
                post_digest=post,
                patched=step.patched,
                **{name: _finite(value) for name, value in facts.items()},
            )
        except OversizedEventError as error:
            if self.on_error == "raise":
                raise
            logger.error("round %d is left out: %s", round, error)
            self._count_lost()
        self._model, self._digest, self._next_round = after, post, round + 1

    def flush(self) -> None:
        """Waits until everything recorded so far is durable.

        Raises:
            LogError: The disk refused.
        """
        self._sink.flush()

    def close(self) -> None:
        """Makes everything durable, seals the open segment and gives the lock back.

        To Kafka it also waits, at most `drain_s`, until the broker has acknowledged everything.

        Raises:
            LogError: With `on_error="raise"`, what the log said last.
            BrokerError: With `on_error="raise"`: where the events lie that were not sent.
        """
        if self._closed:
            return
        try:
            if self._next_round is not None:
                self._tell_last_loss(self._next_round)
            self._closed = True
            self._sink.close(raise_errors=self.on_error == "raise")
        finally:
            self._close_forwarder()

    def _tell_last_loss(self, next_round: int) -> None:
        """No round came any more after which the hole could be recorded; so it is recorded now."""
        with suppress(LogError):
            self._sink.flush()
        if self._sink.has_lost() or self._lost_from is not None:
            self._recover_from_loss(next_round, None)

    def _close_forwarder(self) -> None:
        if self._forwarder is None:
            return
        try:
            self._forwarder.close(self._drain_s, model_digest=self._digest)
        except LogError as error:
            if self.on_error == "raise":
                raise
            logger.error("%s", error)

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
        if absent := erasable - set(tails):
            raise RecorderError(f"{kind.__name__}: erasable names no tail: {sorted(absent)}")
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

    def _record_schema(self, time: datetime | None) -> None:
        if self._schema is None:
            raise RecorderError("no model to record: genesis() comes first")
        self.record(
            ModelSchema,
            time=time,
            tails={"texts": canonical_json(self._texts)} if self._texts else {},
            layout=self._schema,
            digest=self._schema.digest,
            architecture=self._architecture,
            config=self._config,
        )

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
                "the recorder's queue is full, or its disk fails, from round %d on; training goes "
                "on, and rounds are left out until there is room again",
                self._lost_from,
            )

    def _is_losing(self) -> bool:
        return self._lost_from is not None

    def _recover_from_loss(self, next_round: int, time: datetime | None) -> None:
        """Records the hole and the whole model, so that rebuilding can go on from `next_round`."""
        if self._schema is None or not self._sink.has_room():
            return
        reason, lost_from = "the recorder's queue was full", self._lost_from
        if (restart := self._sink.restart()) is not None:
            # What was queued when the disk failed is gone as well, its numbers free again.
            reason = f"the disk failed: {restart.reason}"[:LABEL_LIMIT]
            self._seq, self._prev = restart.next_seq, restart.last_digest
            self._schema_lost |= restart.schema_lost
            rounds = [t for t in (lost_from, restart.first_round) if t is not None]
            lost_from = min(rounds, default=next_round)
        self._lost_from = None
        self.record(RecorderGap, time=time, reason=reason, expected=lost_from, got=next_round)
        if self._schema_lost and not self._is_losing():
            self._schema_lost = False
            self._record_schema(time)
        if self._is_losing():  # there was no room for it after all
            self._lost_from = lost_from
            return
        self._record_model(next_round, {}, time)


def _raw(data: TailBytes) -> bytes | memoryview:
    if isinstance(data, bytes):
        return data
    if isinstance(data, bytearray | memoryview):
        return bytes(data)  # a view may count elements, and a bytearray may change
    little = np.ascontiguousarray(data, dtype=data.dtype.newbyteorder("<"))
    return little.reshape(-1).view(np.uint8).data


def _counts(counts: Array) -> Array:
    """Counts as they stand in the `strata` tail, which holds unsigned 32-bit integers."""
    try:
        with np.errstate(invalid="ignore"):
            packed = np.asarray(counts).astype("<u4")
    except (TypeError, ValueError, OverflowError) as error:
        raise RecorderError(f"RoundCommitted.strata: not counts: {error}") from error
    if not np.array_equal(packed, np.asarray(counts)):
        raise RecorderError(
            "RoundCommitted.strata: counts are whole numbers from 0 to 4,294,967,295; recording "
            "these would change them"
        )
    return packed


def _finite(value: Any) -> Any:
    """The value, None where it is NaN or infinite, and without such entries where it is a dict."""
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    if isinstance(value, dict):
        return {key: part for key, item in value.items() if (part := _finite(item)) is not None}
    return value


def _norm(delta: bytes, schema: TensorSchema) -> float | None:
    if schema.uniform is None or schema.uniform.kind != "f":
        return None
    # In float64: squares of float16 overflow at 256, those of float32 at 1e19.
    values = np.frombuffer(delta, dtype=schema.uniform).astype(np.float64)
    with np.errstate(all="ignore"):
        norm = float(np.sqrt(np.vdot(values, values)))
    return norm if np.isfinite(norm) else None


def _last_model_digest(directory: Path) -> str | None:
    """Digest of the model that the log ends with, read from the last round or genesis in it."""
    for segment in reversed(list_segments(directory)):
        for stored in reversed(list(scan_heads(segment.heads.read_bytes()))):
            if stored.frame is None:
                continue
            try:
                event = parse_head(stored.frame.head)
            except HeadError:
                continue
            if isinstance(event, RoundCommitted):
                return event.post_digest
            if isinstance(event, ModelGenesis):
                return event.digest
    return None


__all__ = ["OversizedEventError", "Recorder"]
