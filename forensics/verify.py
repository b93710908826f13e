"""Is the record whole and unaltered? Every byte of every segment is looked at, nothing is mended.

The steps, in order; the code below carries their numbers.

    0  the files of a producer's log belong together, and none is missing
    1  every frame is whole: layout, lengths, checksum; no bytes stand between or behind them
    2  every head is an event of this run and producer
    3  `seq` has no holes, and `prev` is the digest of the head before
    4  every delta row and every other side byte has the digest that its head names
    5  every seal is canonical, its counts and RFC 6962 root are those of the files, and it
       names the seal before it
    6  W_{t+1} as round t left it is W_{t+1} as round t + 1 found it, and no round is missing
    7  the model folded from W_0 has the recorded digest after every round

It reads files only, so it needs no database and no trust in one. What it cannot see from files:
that a record was never written. Kafka's offsets tell that, and ingest records it as findings.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from forensics.maps import FileMaps
from roundlog.case import Case
from roundlog.encoding import HEADER, digest
from roundlog.errors import HeadError, LogError, RoundlogError
from roundlog.events import (
    NO_DIGEST,
    Event,
    ModelGenesis,
    ModelSchema,
    RoundCommitted,
    check_side,
    parse_head,
)
from roundlog.fold import apply_step
from roundlog.ledger.merkle import MerkleTree
from roundlog.log.segments import Segment, list_segments, scan_heads
from roundlog.log.writer import LOCK_NAME, is_being_written
from roundlog.tensors import Bytes, TensorSchema

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with the record."""

    kind: str
    """`damaged`, `torn_tail`, `bad_head`, `gap`, `repeated`, `equivocation`, `broken_chain`,
    `bad_digest`, `vec_size`, `bad_seal`, `missing_file`, `stray_file`, `continuity`,
    `round_gap`, `model_digest`."""

    run: str
    file: str | None
    """Relative to the case; None where it is no file's fault."""

    round: int | None
    """The round (or, for a model, t) that it concerns, as nearly as can be told."""

    detail: str

    def document(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "run": self.run,
            "file": self.file,
            "round": self.round,
            "detail": self.detail,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found."""

    rounds: int
    """Committed rounds that were read."""

    events: int
    findings: tuple[Violation, ...]

    @property
    def ok(self) -> bool:
        return not self.findings

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "ok": self.ok,
            "rounds": self.rounds,
            "events": self.events,
            "findings": [finding.document() for finding in self.findings],
        }


@dataclass(frozen=True, slots=True)
class _Step:
    """Where one round's step lies."""

    round: int
    pre_digest: str
    post_digest: str
    segment: Segment
    row: int
    patch: slice


@dataclass(slots=True)
class _Run:
    """What has been read of one run."""

    name: str
    findings: list[Violation] = field(default_factory=list)
    schemas: dict[str, TensorSchema] = field(default_factory=dict)
    geneses: dict[int, tuple[ModelGenesis, bytes]] = field(default_factory=dict)
    steps: dict[int, _Step] = field(default_factory=dict)
    damaged_rounds: set[int] = field(default_factory=set)
    """Rounds whose event is there, but not with the bytes that were sealed."""
    events: int = 0
    last_round: int = -1


def verify_case(case: Case, run: str | None = None, progress: Progress | None = None) -> Verdict:
    """Verifies every segment of a case, or of one of its runs.

    Args:
        progress: Called with the number of events read so far.
    """
    names = sorted(path.parent.parent.name for path in case.segments.glob("*/*/*.heads"))
    runs = [_Run(name) for name in dict.fromkeys(names) if run is None or name == run]
    seen = 0
    for one in runs:
        for directory in sorted({path.parent for path in case.segments.glob(f"{one.name}/*/*")}):
            for count in _verify_producer(case, one, directory):
                seen += count
                if progress is not None:
                    progress(seen)
        _verify_rounds(one)
        _verify_models(case, one)
    return Verdict(
        rounds=sum(len(one.steps) + len(one.damaged_rounds - one.steps.keys()) for one in runs),
        events=sum(one.events for one in runs),
        findings=tuple(finding for one in runs for finding in one.findings),
    )


@dataclass(slots=True)
class _Chain:
    """One producer's chain of events, and how to say what is wrong with it."""

    case: Case
    run: _Run
    producer: str
    next_seq: int = 0
    prev: str = NO_DIGEST
    seen: dict[int, str] = field(default_factory=dict)
    broken: bool = False
    """After unreadable bytes, the next event's seq and prev cannot follow: said once, there."""

    def add(self, kind: str, path: Path | None, round_: int | None, detail: str) -> None:
        file = None if path is None else str(path.relative_to(self.case.path))
        self.run.findings.append(Violation(kind, self.run.name, file, round_, detail))


def _verify_producer(case: Case, run: _Run, directory: Path) -> Iterator[int]:
    chain = _Chain(case, run, directory.name)
    segments = list_segments(directory)
    expected = {directory / LOCK_NAME}
    previous_seal = NO_DIGEST
    for segment in segments:
        expected |= {segment.heads, segment.vec, segment.seal}
        last = segment is segments[-1]
        before = run.events
        tree, rows, row_bytes = _verify_heads(chain, segment, last=last)
        previous_seal = _verify_seal(chain, segment, tree, rows, row_bytes, previous_seal, last)
        yield run.events - before
    # 0: what is there that no heads file accounts for?
    for path in sorted(set(directory.iterdir()) - expected):
        missing = path.suffix in {".vec", ".seal"}
        kind = "missing_file" if missing else "stray_file"
        detail = (
            f"its heads file {path.stem}.heads is gone, and with it up to 1,024 events"
            if missing
            else "no part of a log has this name"
        )
        chain.add(kind, path, None, detail)


def _verify_heads(chain: _Chain, segment: Segment, *, last: bool) -> tuple[MerkleTree, int, int]:
    data = segment.heads.read_bytes()
    vec = FileMaps().view(segment.vec)
    tree, rows, row_bytes = MerkleTree(), 0, 0
    first_of_segment = len(chain.run.findings)
    for stored in scan_heads(data):
        # 1: whole frames
        if stored.frame is None:
            at_end = stored.end == len(data)
            kind = "torn_tail" if at_end and last and not segment.sealed else "damaged"
            if kind == "torn_tail" and is_being_written(segment.directory):
                continue
            chain.broken = True
            chain.add(
                kind,
                segment.heads,
                chain.run.last_round + 1,
                f"bytes {stored.offset:,} to {stored.end:,}: {stored.detail}",
            )
            continue
        frame = stored.frame
        tree.append(frame.head)
        chain.run.events += 1
        # 2: events of this log
        try:
            event = parse_head(frame.head)
        except HeadError as error:
            chain.broken = True
            chain.add("bad_head", segment.heads, chain.run.last_round + 1, str(error))
            continue
        if (event.run, event.producer) != (chain.run.name, chain.producer):
            chain.add(
                "bad_head", segment.heads, None, f"event {event.id} lies in another log's file"
            )
        round_ = _round_of(event, chain.run, first_of_segment)
        _verify_chain(chain, segment, event, digest(frame.head), round_)
        # 4: side bytes
        side: bytes | memoryview = frame.side
        file = segment.heads
        if frame.row is not None:
            file, size = segment.vec, event.tails[0].bytes if event.tails else 0
            rows, row_bytes = max(rows, frame.row + 1), size
            side = bytes(vec[frame.row * size : (frame.row + 1) * size]) + frame.side
        try:
            tails = check_side(event, side)
        except HeadError as error:
            if file == segment.vec and _patch_differs(event, frame.side):
                file = segment.heads
            detail = f"event {event.id}: {error}"
            if isinstance(event, RoundCommitted):
                chain.run.damaged_rounds.add(event.round)
                detail += f"; no model from {event.round + 1} on can be rebuilt"
            chain.add("bad_digest", file, round_, detail)
        else:
            _remember(chain.run, segment, event, tails, stored.offset, len(frame.head), frame.row)
    if len(vec) != rows * row_bytes:
        chain.add(
            "vec_size",
            segment.vec,
            chain.run.last_round,
            f"{len(vec):,} bytes where {rows:,} rows of {row_bytes:,} bytes belong",
        )
    return tree, rows, row_bytes


def _round_of(event: Event, run: _Run, first_finding: int) -> int | None:
    """The round an event speaks of; mends the guess of findings that were waiting for it."""
    round_ = getattr(event, "round", None)
    if isinstance(event, RoundCommitted):
        if event.round == run.last_round + 1:
            # The unreadable bytes before this were no round: they followed the last one.
            for index in range(first_finding, len(run.findings)):
                finding = run.findings[index]
                if finding.kind in {"damaged", "bad_head"} and finding.round == event.round:
                    run.findings[index] = Violation(
                        finding.kind,
                        finding.run,
                        finding.file,
                        max(run.last_round, 0),
                        finding.detail,
                    )
        run.last_round = event.round
    return round_ if isinstance(round_, int) else run.last_round


def _verify_chain(
    chain: _Chain, segment: Segment, event: Event, head_digest: str, round_: int | None
) -> None:
    # 3: order without holes
    if (known := chain.seen.get(event.seq)) is not None:
        kind = "repeated" if known == head_digest else "equivocation"
        chain.add(
            kind,
            segment.heads,
            round_,
            f"event {event.id} stands in the log twice"
            + ("" if kind == "repeated" else ", with different content"),
        )
        return
    if event.seq != chain.next_seq:
        chain.add(
            "gap",
            segment.heads,
            round_,
            f"seq {chain.next_seq} to {event.seq - 1} are missing before {event.id}"
            if event.seq > chain.next_seq
            else f"seq {event.seq} comes after seq {chain.next_seq - 1}",
        )
    elif event.prev != chain.prev and not chain.broken:
        chain.add(
            "broken_chain",
            segment.heads,
            round_,
            f"event {event.id} names {event.prev[:16]}… as the head before it, "
            f"which is {chain.prev[:16]}…",
        )
    chain.broken = False
    chain.seen[event.seq] = head_digest
    chain.next_seq, chain.prev = max(chain.next_seq, event.seq + 1), head_digest


def _verify_seal(
    chain: _Chain,
    segment: Segment,
    tree: MerkleTree,
    rows: int,
    row_bytes: int,
    previous: str,
    last: bool,
) -> str:
    # 5: seals
    round_ = chain.run.last_round
    if not segment.sealed:
        if not last:
            chain.add(
                "missing_file", segment.seal, round_, "a later segment exists; this has no seal"
            )
        return previous
    try:
        seal = segment.read_seal()
    except LogError as error:
        chain.add("bad_seal", segment.seal, round_, str(error))
        return digest(segment.seal.read_bytes())
    wrong = [
        f"{name} is {found!r}, sealed as {sealed!r}"
        for name, found, sealed in (
            ("run", chain.run.name, seal.run),
            ("producer", chain.producer, seal.producer),
            ("first_seq", segment.first_seq, seal.first_seq),
            ("count", tree.size, seal.count),
            ("rows", rows, seal.rows),
            ("row_bytes", row_bytes, seal.row_bytes),
            ("heads_bytes", segment.heads.stat().st_size, seal.heads_bytes),
            ("root", tree.root(), seal.root),
            ("previous", previous, seal.previous),
            ("last_seq", chain.next_seq - 1, seal.last_seq),
        )
        if found != sealed
    ]
    if wrong:
        chain.add("bad_seal", segment.seal, round_, "; ".join(wrong))
    return digest(segment.seal.read_bytes())


def _remember(
    run: _Run,
    segment: Segment,
    event: Event,
    tails: dict[str, memoryview],
    offset: int,
    head_bytes: int,
    row: int | None,
) -> None:
    if isinstance(event, ModelSchema):
        run.schemas[event.layout.digest] = event.layout
    elif isinstance(event, ModelGenesis) and "weights" in tails:
        run.geneses[event.round] = (event, bytes(tails["weights"]))
    elif isinstance(event, RoundCommitted) and row is not None and "patch" in tails:
        start = offset + HEADER.size + head_bytes
        run.steps[event.round] = _Step(
            event.round,
            event.pre_digest,
            event.post_digest,
            segment,
            row,
            slice(start, start + len(tails["patch"])),
        )


def _verify_rounds(run: _Run) -> None:
    # 6: continuity
    before: _Step | None = None
    for t in sorted(run.steps):
        event = run.steps[t]
        genesis = run.geneses.get(t)
        first, last = (t, t - 1) if before is None else (before.round + 1, t - 1)
        # Counted first: an event may claim any round number, and the hole before it be as wide.
        explained = last - first < len(run.damaged_rounds) and all(
            one in run.damaged_rounds for one in range(first, last + 1)
        )
        if genesis is None and not explained:
            which = f"round {first} is" if first == last else f"rounds {first} to {last} are"
            run.findings.append(
                Violation(
                    "round_gap",
                    run.name,
                    None,
                    first,
                    f"{which} missing; no model from {first + 1} on can be rebuilt",
                )
            )
        left = before.post_digest if before is not None and t == before.round + 1 else None
        held = genesis[0].digest if genesis is not None else None
        for found in dict.fromkeys(one for one in (held, event.pre_digest) if one is not None):
            expected = left or held or found
            if found != expected:
                run.findings.append(
                    Violation(
                        "continuity",
                        run.name,
                        None,
                        t,
                        f"round {t} began from model {found[:16]}…, but the record left "
                        f"{expected[:16]}…: the weights were changed outside of any recorded round",
                    )
                )
        before = event


def _verify_models(case: Case, run: _Run) -> None:
    # 7: the fold
    maps = FileMaps()
    model: Bytes | None = None
    schema: TensorSchema | None = None
    for t in sorted({*run.steps, *run.geneses}):
        if (genesis := run.geneses.get(t)) is not None:
            schema = run.schemas.get(genesis[0].schema_digest)
            model = np.frombuffer(genesis[1], dtype=np.uint8).copy()
            if schema is None or schema.model_digest(model) != genesis[0].digest:
                _blame(case, run, None, t, "the recorded whole model does not have its digest")
                model = None
        step = run.steps.get(t)
        if step is None or model is None or schema is None:
            model = None if step is None and genesis is None else model
            continue
        try:
            row = slice(step.row * schema.nbytes, (step.row + 1) * schema.nbytes)
            delta, patch = maps.view(step.segment.vec)[row], maps.view(step.segment.heads)
            apply_step(model, delta, patch[step.patch], schema)
        except RoundlogError as error:
            _blame(case, run, step, t, str(error))
            model = None
            continue
        if schema.model_digest(model) != step.post_digest:
            _blame(
                case,
                run,
                step,
                t,
                f"model {t + 1}, folded from the record, is not the recorded one; no later model "
                f"can be trusted",
            )
            model = None
        if t + 1 not in run.steps and t + 1 not in run.geneses:
            model = None


def _blame(case: Case, run: _Run, step: _Step | None, t: int, detail: str) -> None:
    file = None if step is None else str(step.segment.vec.relative_to(case.path))
    run.findings.append(Violation("model_digest", run.name, file, t, detail))


def _patch_differs(event: Event, side: bytes) -> bool:
    """Whether a digest failure is more likely the heads file's: its side bytes are too few."""
    return len(side) != sum(tail.bytes for tail in event.tails[1:])
