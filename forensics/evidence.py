"""Is one producer's log whole, byte for byte? Steps 0 to 5 of `forensics.verify`.

What is found good is remembered on the run, so that its rounds and models can be checked next.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from forensics.maps import FileMaps
from roundlog.case import Case
from roundlog.encoding import HEADER, digest
from roundlog.errors import HeadError, LogError
from roundlog.events import (
    NO_DIGEST,
    Event,
    ModelGenesis,
    ModelSchema,
    RoundCommitted,
    check_side,
    parse_head,
)
from roundlog.ledger.merkle import MerkleTree
from roundlog.log.segments import Segment, list_segments, scan_heads
from roundlog.log.writer import LOCK_NAME, is_being_written
from roundlog.tensors import TensorSchema


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
class Step:
    """Where one round's step lies."""

    round: int
    pre_digest: str
    post_digest: str
    segment: Segment
    row: int
    patch: slice


@dataclass(slots=True)
class RunEvidence:
    """What has been read of one run."""

    name: str
    findings: list[Violation] = field(default_factory=list)
    schemas: dict[str, TensorSchema] = field(default_factory=dict)
    geneses: dict[int, tuple[ModelGenesis, bytes]] = field(default_factory=dict)
    steps: dict[int, Step] = field(default_factory=dict)
    damaged_rounds: set[int] = field(default_factory=set)
    """Rounds whose event is there, but not with the bytes that were sealed."""
    events: int = 0
    last_round: int = -1


@dataclass(slots=True)
class _Chain:
    """One producer's chain of events, and how to say what is wrong with it."""

    case: Case
    run: RunEvidence
    producer: str
    next_seq: int = 0
    prev: str = NO_DIGEST
    seen: dict[int, str] = field(default_factory=dict)
    broken: bool = False
    """After unreadable bytes, the next event's seq and prev cannot follow: said once, there."""

    def add(self, kind: str, path: Path | None, round_: int | None, detail: str) -> None:
        file = None if path is None else str(path.relative_to(self.case.path))
        self.run.findings.append(Violation(kind, self.run.name, file, round_, detail))


def verify_producer(case: Case, run: RunEvidence, directory: Path) -> Iterator[int]:
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


def _round_of(event: Event, run: RunEvidence, first_finding: int) -> int | None:
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
    run: RunEvidence,
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
        run.steps[event.round] = Step(
            event.round,
            event.pre_digest,
            event.post_digest,
            segment,
            row,
            slice(start, start + len(tails["patch"])),
        )


def _patch_differs(event: Event, side: bytes) -> bool:
    """Whether a digest failure is more likely the heads file's: its side bytes are too few."""
    return len(side) != sum(tail.bytes for tail in event.tails[1:])
