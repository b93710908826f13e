"""Has this point been measured before, by this very code? One file a finished point.

A point is known by the digest of the code, the digest of the resolved scenario, the seed, and the
rounds after which it was stopped. So a sweep that was killed goes on where it was, and any change
of code begins anew; files of other code stay beside it until somebody deletes them.
"""

import json
import os
from functools import cache
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from api.documents import Document, encode
from roundlog.log.files import write_durably

SCHEMA = "roundlog.sweep-point/1"

ROOMS = ("roundlog", "simulator", "ingest", "forensics")
"""Packages whose sources decide what a point ends with."""

ALSO = ("api.lab.point",)
"""Modules beside them that do."""

LIBRARIES = ("numpy", "torch")

SUFFIXES = frozenset({".py", ".sql"})
"""Not the scenarios' TOML: a point is known by what its scenario was resolved to."""


@cache
def code_digest() -> str:
    """SHA-256 over names and bytes of the sources that decide a result, and two versions.

    Taken once a process: what was imported stays as it was, whatever happens to the files.
    """
    found = sha256()
    for name, path in _sources():
        data = path.read_bytes()
        found.update(f"{name}\0{len(data)}\0".encode())
        found.update(data)
    for library in LIBRARIES:
        found.update(f"{library}=={version(library)}\0".encode())
    return found.hexdigest()


def _sources() -> list[tuple[str, Path]]:
    listed: list[tuple[str, Path]] = []
    for room in ROOMS:
        root = Path(str(import_module(room).__file__)).parent
        listed += [
            (f"{room}/{path.relative_to(root).as_posix()}", path)
            for path in root.rglob("*")
            if path.suffix in SUFFIXES
        ]
    for module in ALSO:
        listed.append((module, Path(str(import_module(module).__file__))))
    return sorted(listed)


def default_folder() -> Path:
    """`${XDG_CACHE_HOME:-~/.cache}/roundlog/sweep`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "roundlog" / "sweep"


class PointCache:
    """The finished points of one code.

    Args:
        folder: Shared by all codes; made when the first point is kept.
        code: Digest of the code.
    """

    def __init__(self, folder: Path, code: str) -> None:
        self._folder, self._code = folder / code[:16], code

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
            "scenario": scenario,
            "seed": seed,
            "rounds": rounds,
        }

    def _file(self, scenario: str, seed: int, rounds: int | None) -> Path:
        early = "" if rounds is None else f"-first{rounds}"
        return self._folder / f"{scenario[:24]}-seed{seed}{early}.json"
