"""Is every byte that a case keeps still what it was? `verify`, and the files that it leaves out.

The steps; the code below carries their numbers, and 0 to 9 are those of `forensics.verify`.

    10  every blob has the digest that names it, and every blob that the record names is there
    11  every refused record has the digest, the length and the id that its description says
    12  every note about a topic is a whole frame

A scrub reads at most so many bytes a second as it is told, so it can run beside a server for as
long as it takes. It mends nothing and leaves nothing out: a damaged place is named by file and
byte, with what depends on it, and the reading goes on behind it.

Not promised: that triggers and the journals of channels are as they were written. They carry no
digest; `unchecked` names them. Caches and the projection are not read, since deleting them mends
them.
"""

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path

from forensics.evidence import Violation
from forensics.pace import Pace
from forensics.verify import Verdict, verify_case
from ingest.intake import list_intake
from ingest.quarantine import SUFFIX, Quarantine, digest_without_words, id_of
from ingest.store import Store
from roundlog.case import Case
from roundlog.log.files import PART_SUFFIX
from roundlog.log.segments import scan_heads

Progress = Callable[[int, int], None]
"""Bytes read so far, and how many there are; those that are folded count twice."""

CHUNK = 1 << 20

_DIGEST = re.compile(r"[0-9a-f]{64}")

WITHOUT_DIGEST = ("triggers", "outbox")

KNOWN = frozenset(
    {
        "case.json",
        "owner.json",
        "segments",
        "quarantine",
        "intake",
        "blobs",
        "keyframes",
        "cache",
        "roundlog.duckdb",
        "roundlog.duckdb.wal",
        "SHA256SUMS",
        *WITHOUT_DIGEST,
    }
)

_AGAIN = (
    "The log holds it too: delete this file, if it is there, and roundlog.duckdb; the next command "
    "writes both again"
)


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What scrubbing found."""

    verdict: Verdict
    files: int
    """Files outside the segments that were read, those that are damaged included."""
    bytes: int
    """Bytes that were read, those that were folded twice."""

    @property
    def ok(self) -> bool:
        return self.verdict.ok

    def document(self) -> dict[str, object]:
        """What the doors answer: a verdict, and how much was read for it."""
        return {**self.verdict.document(), "files": self.files, "bytes": self.bytes}


def scrub_case(
    case: Case,
    run: str | None = None,
    progress: Progress | None = None,
    *,
    store: Store,
    rate: float | None = None,
    followed: bool = False,
) -> Scrubbed:
    """Reads all evidence of a case; the segments of one of its runs only, where one is named.

    Args:
        store: The case's projection, for what ingest refused and which blobs are needed.
        rate: Bytes a second at most; None for as fast as it goes.
        followed: Whether another thread takes a topic into the case meanwhile, so that the last
            note about it may be half written.
    """
    total = _bytes_to_read(case, run) if progress is not None else 0

    def tell(done: int) -> None:
        if progress is not None:
            progress(min(done, total), total)

    pace = Pace(rate, tell)
    verdict = verify_case(case, run, store=store, read=pace)
    beside = _Beside(case, pace)
    beside.blobs(_named(store))
    beside.quarantine(store)
    beside.intake(followed=followed)
    return Scrubbed(
        replace(
            verdict,
            findings=(*verdict.findings, *beside.findings),
            unchecked=(*verdict.unchecked, *_unchecked(case)),
        ),
        files=beside.files,
        bytes=pace.bytes,
    )


def _named(store: Store) -> dict[str, tuple[str, str]]:
    """The blobs that the record names: run, and what is read from it."""
    sql = (resources.files("forensics") / "sql" / "blobs_named.sql").read_text()
    named: dict[str, tuple[str, str]] = {}
    for blob, run, what in store.rows(sql):
        named.setdefault(blob, (run, what))
    return named


def _files(folder: Path) -> list[Path]:
    """The files of a folder; not what a writer is making, or left behind when it was killed."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.endswith(PART_SUFFIX))


def _bytes_to_read(case: Case, run: str | None) -> int:
    total = 0
    for path in case.segments.glob(f"{run or '*'}/*/*"):
        # A row is looked at, and then folded.
        total += path.stat().st_size * (2 if path.suffix == ".vec" else 1)
    for folder in (case.blobs, case.quarantine):
        total += sum(path.stat().st_size for path in _files(folder))
    return total + sum(path.stat().st_size for path in case.intake.glob("*/*/*.log"))


def _unchecked(case: Case) -> Iterator[str]:
    for name in WITHOUT_DIGEST:
        if count := len(_files(case.path / name)):
            files = "1 file carries" if count == 1 else f"{count:,} files carry"
            yield f"{name}/: {files} no digest to compare with"
    strange = sorted({path.name for path in case.path.iterdir()} - KNOWN)
    if strange:
        yield f"what is no part of a case: {', '.join(strange[:8])}{', …' * (len(strange) > 8)}"


class _Beside:
    """Steps 10 to 12."""

    def __init__(self, case: Case, pace: Pace) -> None:
        self._case, self._pace = case, pace
        self.findings: list[Violation] = []
        self.files = 0

    def blobs(self, named: Mapping[str, tuple[str, str]]) -> None:
        # 10: blobs
        there = set()
        for path in _files(self._case.blobs):
            there.add(path.name)
            run, what = named.get(path.name, ("", "nothing that the record names"))
            if not _DIGEST.fullmatch(path.name):
                self._add("stray_file", path, "", "no blob has this name")
            elif self._digest(path) != path.name:
                detail = (
                    f"its bytes do not have the digest that names it; it holds {what}. {_AGAIN}"
                )
                self._add("bad_digest", path, run, detail)
        for name in sorted(named.keys() - there):
            run, what = named[name]
            detail = f"the record needs it: it holds {what}. {_AGAIN}"
            self._add("missing_file", self._case.blobs / name, run, detail)

    def quarantine(self, store: Store) -> None:
        # 11: refused records
        quarantine = Quarantine(self._case.quarantine)
        projected = {str(row[0]): row for row in store.rows("FROM quarantine")}
        for path in _files(self._case.quarantine):
            if path.suffix != SUFFIX:
                self._add("stray_file", path, "", "no refused record has this name")
                continue
            self._count(path)
            entry = quarantine.read(path.stem)
            if entry is None:
                detail = "its description cannot be read; what was refused, and why, is not known"
                self._add("damaged", path, "", detail, 0)
                continue
            refused, raw = entry
            start = path.stat().st_size - len(raw)
            known = projected.get(path.stem, refused.row())
            if (path.stem, path.stem) != (refused.id, id_of(refused)) or refused.row() != known:
                detail = "its description is not the one with which the record was refused"
                self._add("bad_digest", path, refused.run, detail, 0)
            if len(raw) != refused.kept or digest_without_words(raw) != refused.sha256:
                detail = (
                    f"{len(raw):,} bytes of {refused.kept:,} that were kept do not have their "
                    f"digest; what was refused ({refused.reason}) cannot be shown any more"
                )
                self._add("bad_digest", path, refused.run, detail, start)

    def intake(self, *, followed: bool) -> None:
        # 12: notes about topics
        root = self._case.intake
        for cluster_id, topic_id, number in list_intake(root):
            path = root / cluster_id / topic_id / f"{number}.log"
            self._count(path)
            data = path.read_bytes()
            for stored in scan_heads(data):
                if stored.frame is not None:
                    continue
                at_end = stored.end == len(data)
                if at_end and followed:
                    continue
                detail = f"bytes {stored.offset:,} to {stored.end:,}: {stored.detail}; " + (
                    "they were relied on by nobody"
                    if at_end
                    else "a duplicate or a lost range that was noted there is not known any more"
                )
                self._add("torn_tail" if at_end else "damaged", path, "", detail, stored.offset)

    def _digest(self, path: Path) -> str:
        self.files += 1
        state = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                state.update(chunk)
                self._pace(len(chunk))
        return state.hexdigest()

    def _count(self, path: Path) -> None:
        self.files += 1
        self._pace(path.stat().st_size)

    def _add(
        self, kind: str, path: Path, run: str | None, detail: str, byte: int | None = None
    ) -> None:
        file = str(path.relative_to(self._case.path))
        self.findings.append(Violation(kind, run or "", file, None, detail, byte))
