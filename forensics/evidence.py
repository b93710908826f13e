"""Is one producer's log whole, byte for byte? Steps 0 to 5 of `forensics.verify`.

What is found good is remembered on the run, so that its rounds and models can be checked next.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from forensics.artefact import MASTER_FORM
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
    RunOpened,
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
    """`damaged`, `torn_tail`, `bad_head`, `gap`, `equivocation`, `broken_chain`, `bad_digest`,
    `vec_size`, `bad_seal`, `missing_file`, `stray_file`, `continuity`, `round_gap`,
    `model_digest`, `broadcast_digest`, `lost_range`, `topic_recreated`."""

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
    broadcast_digest: str | None
    form: str
    """In which form devices get W_{t+1}, as the run was last opened before this round."""


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
    form: str = MASTER_FORM
    """`broadcast` of the latest run.opened; float32 where there was none."""
    events: int = 0
    last_round: int = -1


@dataclass(frozen=True, slots=True)
class _Link:
    """One event's place in its producer's chain."""

    digest: str
    prev: str
    file: Path
    round: int | None


@dataclass(slots=True)
class _Chain:
    """One producer's chain of events, and how to say what is wrong with it."""

    case: Case
    run: RunEvidence
    producer: str
    links: dict[int, "_Link"] = field(default_factory=dict)
    """Every event by its seq. A hole may be filled late, so links are judged at the end."""

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
    _verify_links(chain)
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
            chain.add("bad_head", segment.heads, chain.run.last_round + 1, str(error))
            continue
        if (event.run, event.producer) != (chain.run.name, chain.producer):
            chain.add(
                "bad_head", segment.heads, None, f"event {event.id} lies in another log's file"
            )
        round_ = _round_of(event, chain.run, first_of_segment)
        _link(chain, segment, event, digest(frame.head), round_)
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


def _link(
    chain: _Chain, segment: Segment, event: Event, head_digest: str, round_: int | None
) -> None:
    known = chain.links.setdefault(event.seq, _Link(head_digest, event.prev, segment.heads, round_))
    # The same event twice is no fault: appending is at-least-once. Another one under its seq is.
    if known.digest != head_digest:
        detail = f"event {event.id} stands in the log twice, with different content"
        chain.add("equivocation", segment.heads, round_, detail)


def _verify_links(chain: _Chain) -> None:
    # 3: order without holes
    expected, before = 0, NO_DIGEST
    for seq in sorted(chain.links):
        link = chain.links[seq]
        name = f"{chain.run.name}/{chain.producer}/{seq}"
        if seq > expected:
            which = (
                f"seq {expected} is" if seq - 1 == expected else f"seq {expected} to {seq - 1} are"
            )
            chain.add("gap", link.file, link.round, f"{which} missing before event {name}")
        elif link.prev != before:
            detail = f"names {link.prev[:16]}… as the head before it, which is {before[:16]}…"
            chain.add("broken_chain", link.file, link.round, f"event {name} {detail}")
        expected, before = seq + 1, link.digest


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
            ("last_seq", max(chain.links, default=-1), seal.last_seq),
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
    if isinstance(event, RunOpened):
        run.form = event.broadcast
    elif isinstance(event, ModelSchema):
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
            event.broadcast_digest,
            run.form,
        )


def _patch_differs(event: Event, side: bytes) -> bool:
    """Whether a digest failure is more likely the heads file's: its side bytes are too few."""
    return len(side) != sum(tail.bytes for tail in event.tails[1:])
