"""What is missing on this machine, and how is it got? Looks only; changes nothing."""

import importlib.util
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from api.documents import Document
from roundlog import __version__
from roundlog.case import Case
from roundlog.errors import CaseError

Health = Literal["ok", "missing", "warning"]

SERVER = ("duckdb", "fastapi", "httpx", "matplotlib", "polars", "pyarrow", "safetensors", "uvicorn")

# A mobileai7 case takes 3 GB with its keyframes; below this even a demo may not fit.
LOW_DISK = 2_000_000_000

JAVA_LEAST = 17


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    health: Health
    found: str
    needed_for: str
    get_it: str = ""
    """How to get what is missing."""


def examine(case: str | None = None) -> Document:
    """Everything that roundlog may need here, and what is there.

    Args:
        case: A case directory to look at, too.
    """
    checks = [*_machine(), *_packages(), *_kafka()]
    if case is not None:
        checks += _case(Path(case))
    return {
        "roundlog": __version__,
        "ok": all(check.health != "missing" or not _is_needed(check) for check in checks),
        "checks": [asdict(check) for check in checks],
    }


def _is_needed(check: Check) -> bool:
    """Whether roundlog's main job fails without it; Kafka and Java are a choice."""
    return check.needed_for != "make kafka, make test"


def _machine() -> Iterator[Check]:
    good = sys.version_info >= (3, 11)
    yield Check(
        "python",
        "ok" if good else "missing",
        platform.python_version(),
        "everything",
        "" if good else "Python 3.11 or later: https://www.python.org/downloads/",
    )
    free = shutil.disk_usage(Path.cwd()).free
    yield Check(
        "disk here",
        "ok" if free >= LOW_DISK else "warning",
        f"{free / 1e9:,.1f} GB free",
        "cases: 15 KB a round of the reference model",
        "" if free >= LOW_DISK else "make room, or work in another directory",
    )


def _packages() -> Iterator[Check]:
    missing = [name for name in SERVER if importlib.util.find_spec(name) is None]
    yield Check(
        "extra server",
        "missing" if missing else "ok",
        f"without {', '.join(missing)}" if missing else "complete",
        "ingest, questions, serve",
        "pip install 'roundlog[server]'" if missing else "",
    )
    if importlib.util.find_spec("torch") is None:
        yield Check(
            "torch", "missing", "not installed", "simulate, probe, crossings, bisect", "make setup"
        )
        return
    build = _version("torch")
    # Read from the package's name: importing torch takes seconds, and nothing here needs it.
    cpu = "+cpu" in build or importlib.util.find_spec("nvidia") is None
    yield Check(
        "torch",
        "ok",
        f"{build}, {'CPU' if cpu else 'CUDA'} build",
        "simulate, probe, crossings, bisect",
        "" if cpu else "works as it is; the CPU build saves 5 GB of disk",
    )


def _kafka() -> Iterator[Check]:
    yield Check(
        "kafka-python",
        "ok" if importlib.util.find_spec("kafka") else "missing",
        _version("kafka-python"),
        "recording to and ingesting from Kafka",
    )
    java = _java()
    yield Check(
        "java",
        "ok" if java >= JAVA_LEAST else "missing",
        f"version {java}" if java else "not found",
        "make kafka, make test",
        "" if java >= JAVA_LEAST else f"a JRE {JAVA_LEAST} or later (apt install default-jre)",
    )
    maven = shutil.which("mvn")
    yield Check(
        "mvn",
        "ok" if maven else "missing",
        maven or "not found",
        "make kafka, make test",
        "" if maven else "Maven fetches Kafka's jars once (apt install maven)",
    )


def _java() -> int:
    """Java's major version; 0 where there is none."""
    found = shutil.which("java")
    if found is None:
        return 0
    try:
        said = subprocess.run(
            [found, "-version"], capture_output=True, text=True, timeout=10, check=False
        ).stderr
    except (OSError, subprocess.TimeoutExpired):
        return 0
    digits = said.partition('"')[2].split(".", maxsplit=1)[0]
    return int(digits) if digits.isdigit() else 0


def _case(path: Path) -> Iterator[Check]:
    try:
        case = Case(path)
    except CaseError as error:
        yield Check(f"case {path}", "missing", str(error), "your question")
        return
    owner = case.current_owner()
    runs = sorted({heads.parent.parent.name for heads in case.segments.glob("*/*/*.heads")})
    held = "nobody holds it" if owner is None else f"held: {owner}"
    yield Check(f"case {path}", "ok", f"{len(runs)} run(s); {held}", "your question")
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    free = shutil.disk_usage(path).free
    yield Check(
        "its size",
        "ok" if free > size else "warning",
        f"{size / 1e6:,.1f} MB, {free / 1e9:,.1f} GB free beside it",
        "your question",
        "" if free > size else "keyframes/ and cache/ may be deleted at any time",
    )
    refused = list(case.quarantine.glob("*")) if case.quarantine.exists() else []
    if refused:
        yield Check(
            "its quarantine",
            "warning",
            f"{len(refused)} file(s)",
            "your question",
            f"`roundlog quarantine list {path}` says why each was refused",
        )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"
