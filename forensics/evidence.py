"""Is one producer's log whole, byte for byte? Steps 0 to 5 of `forensics.verify`.

What is found good is remembered on the run, so that its rounds and models can be checked next.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from forensics.artefact import MASTER_FORM
from forensics.maps import FileMaps
from roundlog.case import Case
from roundlog.encoding import HEADER, digest
from roundlog.errors import HeadError, LogError
from roundlog.events import (
    NO_DIGEST,
    OWNER,
    Event,
    ModelGenesis,
    ModelSchema,
    RoundCommitted,
    RunOpened,
    TextsErased,
    check_side,
    is_erased,
    parse_head,
)
from roundlog.ledger.merkle import MerkleTree
from roundlog.log.erase import has_text
from roundlog.log.files import PART_SUFFIX
from roundlog.log.segments import Segment, list_segments, scan_heads
from roundlog.log.writer import LOCK_NAME, is_being_written
from roundlog.tensors import TensorSchema

Reading = Callable[[int], None]
"""Told how many bytes of evidence were read since it was told before; it may take its time."""


def at_once(count: int) -> None:
    """A reading that nobody slows down or counts."""


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing that is wrong with the record."""

    kind: str
    """`damaged`, `torn_tail`, `bad_head`, `gap`, `equivocation`, `broken_chain`, `bad_digest`,
    `vec_size`, `bad_seal`, `missing_file`, `stray_file`, `continuity`, `round_gap`,
    `model_digest`, `broadcast_digest`, `unerased`, `lost_range`, `topic_recreated`."""

    run: str
    file: str | None
    """Relative to the case; None where it is no file's fault."""

    round: int | None
    """The round (or, for a model, t) that it concerns, as nearly as can be told."""

    detail: str

    byte: int | None = None
    """Where in the file what is wrong begins, where it begins somewhere: a frame, or a row."""

    def document(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "run": self.run,
            "file": self.file,
            "byte": self.byte,
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


@dataclass(frozen=True, slots=True)
class Text:
    """Where the words of one event stand, or stood."""

    id: str
    producer: str
    seq: int
    segment: Segment
    offset: int
    """Of the frame in the heads file."""
    round: int | None
    erased: bool
    """Whether they were overwritten."""


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
    texts: list["Text"] = field(default_factory=list)
    """Words that may be erased, or were."""
    said: list[TextsErased] = field(default_factory=list)
    """Whose words the owner says are erased."""
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
class _Found:
    """What one segment holds, to compare with its seal."""

    tree: MerkleTree = field(default_factory=MerkleTree)
    rows: int = 0
    row_bytes: int = 0
    last_seq: int = -1
    """The highest one in it; a segment of late events ends below the one before."""


@dataclass(slots=True)
class _Chain:
    """One producer's chain of events, and how to say what is wrong with it."""

    case: Case
    run: RunEvidence
    producer: str
    links: dict[int, "_Link"] = field(default_factory=dict)
    """Every event by its seq. A hole may be filled late, so links are judged at the end."""

    def add(
        self,
        kind: str,
        path: Path | None,
        round_: int | None,
        detail: str,
        byte: int | None = None,
    ) -> None:
        file = None if path is None else str(path.relative_to(self.case.path))
        self.run.findings.append(Violation(kind, self.run.name, file, round_, detail, byte))


def verify_producer(
    case: Case, run: RunEvidence, directory: Path, read: Reading = at_once
) -> Iterator[int]:
    chain = _Chain(case, run, directory.name)
    # A recorder may go on meanwhile. What there is to look at is what there is now: names first,
    # and before each file is read, whether it can still grow.
    names = {path for path in directory.iterdir() if not _is_seal_being_written(path)}
    segments = list_segments(directory)
    expected = {directory / LOCK_NAME}
    previous_seal = NO_DIGEST
    for segment in segments:
        expected |= {segment.heads, segment.vec, segment.seal}
        last = segment is segments[-1]
        grows = last and not segment.sealed
        before = run.events
        found = _verify_heads(chain, segment, read, grows=grows)
        if not grows:
            previous_seal = _verify_seal(chain, segment, found, previous_seal)
        yield run.events - before
    _verify_links(chain)
    # 0: what is there that no heads file accounts for?
    for path in sorted(names - expected):
        if path.name.endswith(PART_SUFFIX) and not path.exists():
            continue  # of somebody who erased meanwhile
        missing = path.suffix in {".vec", ".seal"}
        kind = "missing_file" if missing else "stray_file"
        detail = (
            f"its heads file {path.stem}.heads is gone, and with it up to 1,024 events"
            if missing
            else "no part of a log has this name"
        )
        chain.add(kind, path, None, detail)


def _is_seal_being_written(path: Path) -> bool:
    return path.name.endswith(PART_SUFFIX) and is_being_written(path.parent)


def _is_moving(segment: Segment) -> bool:
    """Whether a segment that had no seal is being written, or was until just now."""
    return is_being_written(segment.directory) or segment.sealed


def _verify_heads(chain: _Chain, segment: Segment, read: Reading, *, grows: bool) -> _Found:
    data = segment.heads.read_bytes()
    read(len(data))
    vec = FileMaps().view(segment.vec)
    found = _Found()
    first_of_segment = len(chain.run.findings)
    for stored in scan_heads(data):
        # 1: whole frames
        if stored.frame is None:
            kind = "torn_tail" if grows and stored.end == len(data) else "damaged"
            if kind == "torn_tail" and _is_moving(segment):
                continue
            chain.add(
                kind,
                segment.heads,
                chain.run.last_round + 1,
                f"bytes {stored.offset:,} to {stored.end:,}: {stored.detail}",
                stored.offset,
            )
            continue
        frame = stored.frame
        found.tree.append(frame.head)
        chain.run.events += 1
        # 2: events of this log
        try:
            event = parse_head(frame.head)
        except HeadError as error:
            due = chain.run.last_round + 1
            chain.add("bad_head", segment.heads, due, str(error), stored.offset)
            continue
        if (event.run, event.producer) != (chain.run.name, chain.producer):
            detail = f"event {event.id} lies in another log's file"
            chain.add("bad_head", segment.heads, None, detail, stored.offset)
        found.last_seq = max(found.last_seq, event.seq)
        round_ = _round_of(event, chain.run, first_of_segment)
        _link(chain, segment, event, digest(frame.head), round_)
        # 4: side bytes
        side: bytes | memoryview = frame.side
        file, byte = segment.heads, stored.offset
        if frame.row is not None:
            size = event.tails[0].bytes if event.tails else 0
            file, byte = segment.vec, frame.row * size
            found.rows, found.row_bytes = max(found.rows, frame.row + 1), size
            read(size)
            side = bytes(vec[frame.row * size : (frame.row + 1) * size]) + frame.side
        try:
            tails = check_side(event, side)
        except HeadError as error:
            if file == segment.vec and _patch_differs(event, frame.side):
                file, byte = segment.heads, stored.offset
            detail = f"event {event.id}: {error}"
            if isinstance(event, RoundCommitted):
                chain.run.damaged_rounds.add(event.round)
                detail += f"; no model from {event.round + 1} on can be rebuilt"
            chain.add("bad_digest", file, round_, detail, byte)
        else:
            _remember(chain.run, segment, event, tails, stored.offset, len(frame.head), frame.row)
            if has_text(event):
                place = (event.id, event.producer, event.seq, segment, stored.offset, round_)
                chain.run.texts.append(Text(*place, is_erased(event, tails)))
            elif isinstance(event, TextsErased) and chain.producer == OWNER:
                chain.run.said.append(event)
    # Rows are written before their heads, so while somebody writes there may be more of them.
    belong = found.rows * found.row_bytes
    ahead = grows and len(vec) > belong and _is_moving(segment)
    if len(vec) != belong and not ahead:
        chain.add(
            "vec_size",
            segment.vec,
            chain.run.last_round,
            f"{len(vec):,} bytes where {found.rows:,} rows of {found.row_bytes:,} bytes belong",
            min(len(vec), belong),
        )
    return found


def _round_of(event: Event, run: RunEvidence, first_finding: int) -> int | None:
    """The round an event speaks of; mends the guess of findings that were waiting for it."""
    round_ = getattr(event, "round", None)
    if isinstance(event, RoundCommitted):
        if event.round == run.last_round + 1:
            # The unreadable bytes before this were no round: they followed the last one.
            for index in range(first_finding, len(run.findings)):
                finding = run.findings[index]
                if finding.kind in {"damaged", "bad_head"} and finding.round == event.round:
                    run.findings[index] = replace(finding, round=max(run.last_round, 0))
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


def _verify_seal(chain: _Chain, segment: Segment, found: _Found, previous: str) -> str:
    # 5: seals
    round_ = chain.run.last_round
    if not segment.sealed:
        chain.add("missing_file", segment.seal, round_, "a later segment exists; this has no seal")
        return previous
    try:
        seal = segment.read_seal()
    except LogError as error:
        chain.add("bad_seal", segment.seal, round_, str(error))
        return digest(segment.seal.read_bytes())
    # A segment without events was sealed as what came before it.
    last_seq = max(chain.links, default=-1) if found.last_seq < 0 else found.last_seq
    wrong = [
        f"{name} is {here!r}, sealed as {sealed!r}"
        for name, here, sealed in (
            ("run", chain.run.name, seal.run),
            ("producer", chain.producer, seal.producer),
            ("first_seq", segment.first_seq, seal.first_seq),
            ("count", found.tree.size, seal.count),
            ("rows", found.rows, seal.rows),
            ("row_bytes", found.row_bytes, seal.row_bytes),
            ("heads_bytes", segment.heads.stat().st_size, seal.heads_bytes),
            ("root", found.tree.root(), seal.root),
            ("previous", previous, seal.previous),
            ("last_seq", last_seq, seal.last_seq),
        )
        if here != sealed
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
