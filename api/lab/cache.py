"""Has this point been measured before, by this very code? One file a finished point.

A point is known by what measured it and the digest of that code, the digest of the resolved
scenario, the seed, and the rounds after which it was stopped. So a campaign that was killed goes
on where it was, and any change of code begins anew; files of other code stay beside it until
somebody deletes them.
"""

import json
import os
from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from api.documents import Document, encode
from roundlog.log.files import write_durably

SCHEMA = "roundlog.sweep-point/2"

POINT = "api.lab.point:measure_point"
"""What measures a point where nobody says otherwise: its score."""

ROOMS = ("roundlog", "simulator", "ingest", "forensics")
"""Packages whose sources decide what a point ends with."""

JUDGES = frozenset(
    f"forensics/evaluation/{name}.py" for name in ("when_bars", "when_replicates", "when_summary")
)
"""Sources among them that look at finished points only: a better summary needs no run again."""

LIBRARIES = ("numpy", "torch")

SUFFIXES = frozenset({".py", ".sql"})
"""Not the scenarios' TOML: a point is known by what its scenario was resolved to."""


def code_digest(measure: str = POINT) -> str:
    """SHA-256 over names and bytes of the sources that decide a result, and two versions.

    Taken once a process: what was imported stays as it was, whatever happens to the files.

    Args:
        measure: `module:function` of what measures; the module's source is one of them.
    """
    module = measure.partition(":")[0]
    decide = [(name, found) for name, found in _rooms() if name not in JUDGES]
    libraries = [(library, version(library)) for library in LIBRARIES]
    return _digest_of([*decide, (module, _module(module)), *libraries])


def judge_digest() -> str:
    """SHA-256 over the sources that look at finished points only."""
    return _digest_of([(name, found) for name, found in _rooms() if name in JUDGES])


def _digest_of(parts: Iterable[tuple[str, str]]) -> str:
    return sha256("".join(f"{name}\0{found}\0" for name, found in parts).encode()).hexdigest()


@cache
def _rooms() -> tuple[tuple[str, str], ...]:
    """Name and SHA-256 of every source of the rooms, in the order of their names."""
    listed: list[tuple[str, str]] = []
    for room in ROOMS:
        root = Path(str(import_module(room).__file__)).parent
        listed += [
            (f"{room}/{path.relative_to(root).as_posix()}", sha256(path.read_bytes()).hexdigest())
            for path in root.rglob("*")
            if path.suffix in SUFFIXES
        ]
    return tuple(sorted(listed))


@cache
def _module(name: str) -> str:
    """SHA-256 of the source of one module beside them."""
    return sha256(Path(str(import_module(name).__file__)).read_bytes()).hexdigest()


def default_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/roundlog/sweep`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "roundlog" / "sweep"


class PointCache:
    """The finished points of one code.

    Args:
        folder: Shared by all codes; made when the first point is kept.
        code: Digest of the code.
        measure: What measured them, as `module:function`.
    """

    def __init__(self, folder: Path, code: str, measure: str = POINT) -> None:
        self._folder, self._code, self._measure = folder / code[:16], code, measure

    def get(self, scenario: str, seed: int, rounds: int | None) -> Document | None:
        """What that point ended with; None where it is not known.

        Args:
            scenario: Digest of the resolved scenario.
        """
        try:
            kept: Any = json.loads(self._file(scenario, seed, rounds).read_bytes())
        except (OSError, ValueError):
            return None
        # The file's name holds parts of the digests only.
        if not isinstance(kept, dict) or kept.get("of") != self._identity(scenario, seed, rounds):
            return None
        answer = kept.get("answer")
        return answer if isinstance(answer, dict) else None

    def put(self, scenario: str, seed: int, rounds: int | None, answer: Document) -> None:
        """Keeps what a point ended with: whole, or not at all."""
        file = self._file(scenario, seed, rounds)
        file.parent.mkdir(parents=True, exist_ok=True)
        of = self._identity(scenario, seed, rounds)
        write_durably(file, encode({"of": of, "answer": answer}))

    def _identity(self, scenario: str, seed: int, rounds: int | None) -> Document:
        return {
            "schema": SCHEMA,
            "code": self._code,
            "measure": self._measure,
            "scenario": scenario,
            "seed": seed,
            "rounds": rounds,
        }

    def _file(self, scenario: str, seed: int, rounds: int | None) -> Path:
        early = "" if rounds is None else f"-first{rounds}"
        function = self._measure.partition(":")[2]
        return self._folder / f"{function}-{scenario[:24]}-seed{seed}{early}.json"
