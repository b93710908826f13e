"""How is a bisection told, kept as text, and read back?

    # roundlog bisect log 1
    # run quickstart-7c88f9dc7dd2
    # models 0 5000
    # trigger <probe digest> level 0.5
    good 0 0/313 # coarse scan
    bad 5000 307/313 # coarse scan
    ...

Where what devices run was asked in place of W_t, the third line is `# models 0 5000 broadcast`.

A log is input like any other: it is bounded, every line is checked, and nothing in it is believed
before it was asked again (`forensics.bisect`).
"""

import re
from dataclasses import dataclass

from forensics.artefact import Artefact
from forensics.check import SKIP
from forensics.floor import Floor
from forensics.search import Zone
from roundlog.errors import QuestionError

LOG_TITLE = "# roundlog bisect log 1"

LOG_LIMIT = 1 << 20
"""Bytes of a log that is read back: a bisection has a few dozen lines."""

# A log of master weights reads as it did before there were others.
_OF: dict[Artefact, str] = {"master": "", "broadcast": " broadcast"}

_STEP = re.compile(
    r"(?P<verdict>good|bad|skip) (?P<round>\d{1,18}) "
    r"(?:(?P<hits>\d{1,18})/(?P<n>\d{1,18})|exit (?P<code>\d{1,3}))(?: # (?P<why>[a-z ]{1,40}))?"
)


@dataclass(frozen=True, slots=True)
class Step:
    """One model that was asked."""

    round: int
    """t of the model."""
    verdict: str
    """`good`: below the level; `bad`: at or above it; `skip`: cannot be tested."""
    why: str
    """Why this model."""
    hits: int | None = None
    n: int | None = None
    code: int | None = None
    """Exit code of the check."""

    @property
    def answer(self) -> str:
        """What was found, as a log holds it."""
        found = f"exit {self.code}" if self.code is not None else f"{self.hits}/{self.n}"
        return f"{self.verdict} {self.round} {found}"

    def document(self) -> dict[str, object]:
        asr = self.hits / self.n if self.hits is not None and self.n else None
        read = {"asr": asr, "hits": self.hits, "n": self.n} if self.code is None else {}
        code = {} if self.code is None else {"exit": self.code}
        return {"round": self.round, "verdict": self.verdict, **read, **code, "why": self.why}


@dataclass(frozen=True, slots=True)
class Difference:
    """A step of a log that came out otherwise when it was replayed."""

    line: int
    """Of the log, from 1."""
    round: int
    logged: str
    found: str

    def document(self) -> dict[str, object]:
        return {
            "line": self.line,
            "round": self.round,
            "logged": self.logged,
            "found": self.found,
        }


@dataclass(frozen=True, slots=True)
class Bisection:
    """What a bisection found, and every step of it."""

    run: str
    artefact: Artefact
    """Which models were asked: W_t, or what devices run in their place."""
    first: int
    last: int
    """The interval of models that was searched."""
    question: str
    """As the log names it: the probe digest and level, or the command."""
    level: float | None
    steps: tuple[Step, ...]
    status: str
    """`crossed`, `never` (no bad model was met), `at_start` (the first model is bad)."""
    low: int | None
    high: int | None
    """`low` is good and `high` is bad: an upward crossing lies in (low, high]."""
    zone: Zone | None = None
    """Of a level: where its sustained and isotonic crossing may be claimed to lie."""
    floor: Floor | None = None
    """Of a level, where it was asked for: what decoys reach."""
    differences: tuple[Difference, ...] | None = None
    """Of a replayed log: the steps that came out otherwise. None where nothing was replayed."""

    @property
    def claim(self) -> str:
        """What is proved, in a sentence."""
        if self.status == "at_start":
            return f"proved: model {self.first}, the first one, is bad already"
        if self.low is None or self.high is None:
            return f"not proved: none of the {len(self.steps)} models asked is bad"
        if self.high - self.low == 1:
            return f"proved: model {self.low} is good and model {self.high}, the next one, is bad"
        between = sum(self.low < s.round < self.high for s in self.steps if s.verdict == SKIP)
        skipped = f"; {between} models asked between could not be tested" if between else ""
        return f"proved: model {self.low} is good and model {self.high} is bad{skipped}"

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        beside: dict[str, object] = {}
        if self.level is not None:
            beside["zone"] = self.zone.document() if self.zone else None
        if self.floor is not None:
            value = self.floor.value
            beside["floor"] = value
            beside["below_floor"] = (
                value is not None and self.level is not None and (self.level <= value)
            )
        if self.differences is not None:
            beside["same"] = not self.differences
            beside["differences"] = [one.document() for one in self.differences]
        return {
            "run": self.run,
            "artefact": self.artefact,
            "models": {"first": self.first, "last": self.last},
            "question": self.question,
            "level": self.level,
            "status": self.status,
            "round": self.high,
            "low": self.low,
            "high": self.high,
            "rebuilds": len({step.round for step in self.steps}),
            "claim": self.claim,
            **beside,
            "steps": [step.document() for step in self.steps],
        }

    def log(self) -> str:
        """The steps as text that can be kept, compared and replayed."""
        lines = [
            LOG_TITLE,
            f"# run {self.run}",
            f"# models {self.first} {self.last}{_OF[self.artefact]}",
            f"# {self.question}",
            *(f"{step.answer} # {step.why}" for step in self.steps),
            f"# {self.claim}",
        ]
        return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True)
class Log:
    """A log that was read back."""

    run: str
    artefact: Artefact
    first: int
    last: int
    question: str
    level: float | None
    steps: tuple[tuple[int, Step], ...]
    """Line number and step."""


def parse_log(log: str) -> Log:
    """Reads a log.

    Raises:
        QuestionError: Which line is not one of a log.
    """
    lines = log.splitlines()
    if len(log) > LOG_LIMIT or len(lines) < 4 or lines[0].strip() != LOG_TITLE:
        raise QuestionError(f"not a log of a bisection: its first line must be {LOG_TITLE!r}")
    run = re.fullmatch(r"# run (\S+)", lines[1])
    models = re.fullmatch(r"# models (\d{1,18}) (\d{1,18})( broadcast)?", lines[2])
    if run is None or models is None or not lines[3].startswith("# "):
        raise QuestionError("the log does not say in lines 2 to 4 what it searched")
    question = lines[3].removeprefix("# ")
    level = re.fullmatch(r"trigger [0-9a-f]{64} level (0\.\d{1,6}|1\.0)", question)
    steps = []
    for number, line in enumerate(lines[4:], start=5):
        if not line.strip() or line.startswith("#"):
            continue
        found = _STEP.fullmatch(line.strip())
        if found is None or (found["code"] is None) != (level is not None):
            raise QuestionError(f"line {number} of the log is no step: {line[:80]!r}")
        steps.append((number, _parsed_step(found)))
    if not steps:
        raise QuestionError("the log holds no step")
    return Log(
        run=run[1],
        artefact="broadcast" if models[3] else "master",
        first=int(models[1]),
        last=int(models[2]),
        question=question,
        level=float(level[1]) if level else None,
        steps=tuple(steps),
    )


def _parsed_step(found: re.Match[str]) -> Step:
    hits, n, code = (found[name] for name in ("hits", "n", "code"))
    return Step(
        round=int(found["round"]),
        verdict=found["verdict"],
        why=found["why"] or "logged",
        hits=int(hits) if hits else None,
        n=int(n) if n else None,
        code=int(code) if code else None,
    )
