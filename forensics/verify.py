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
    7  the model folded from W_0 has the recorded digest after every round; and what devices run
       in its place, made of it once more, has the one recorded for that
    8  words were overwritten where the owner of the case says so, and nowhere else
    9  ingest noticed no second event under one seq, and no range that Kafka had lost

Steps 0 to 8 read files only, so they need no database and no trust in one. Step 9 is what no
segment can show, since it never came into one; it is left out where no projection is given.

Not promised: that devices ran what the record says, nor, where a run ships its models in a form
that we cannot make, even that its digests are of that form. `unchecked` names such runs.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np

from forensics.artefact import can_be_made, transformation
from forensics.erasures import verify_erasures
from forensics.evidence import Reading, RunEvidence, Step, Violation, at_once, verify_producer
from forensics.maps import FileMaps
from ingest.store import Store
from roundlog.case import Case
from roundlog.errors import RoundlogError
from roundlog.fold import apply_step
from roundlog.log.writer import LOCK_NAME
from roundlog.tensors import Bytes, TensorSchema

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What verification found."""

    rounds: int
    """Committed rounds that were read."""

    events: int
    findings: tuple[Violation, ...]
    unchecked: tuple[str, ...] = ()
    """What could not be looked at, and why, in sentences; no fault of the record."""

    erased: int = 0
    """Texts that people had erased, as the record says; no fault of it."""

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
            "unchecked": list(self.unchecked),
            "erased": self.erased,
        }


def verify_case(
    case: Case,
    run: str | None = None,
    progress: Progress | None = None,
    *,
    store: Store | None = None,
    read: Reading = at_once,
) -> Verdict:
    """Verifies every segment of a case, or of one of its runs.

    Args:
        progress: Called with the number of events read so far.
        store: The case's projection, for what ingest refused and no segment can show.
        read: Told of every stretch of bytes: as it is looked at, and once more as it is folded.
    """
    producers: dict[str, set[Path]] = {}
    for path in case.segments.glob("*/*/*"):
        name = path.parent.parent.name
        if path.name != LOCK_NAME and run in (None, name):
            producers.setdefault(name, set()).add(path.parent)
    runs = [RunEvidence(name) for name in sorted(producers)]
    seen, erased = 0, 0
    for one in runs:
        for directory in sorted(producers[one.name]):
            for count in verify_producer(case, one, directory, read):
                seen += count
                if progress is not None:
                    progress(seen)
        _verify_rounds(one)
        _verify_models(case, one, read)
        erased += verify_erasures(case, one)  # 8
    noticed = () if store is None else _noticed_by_ingest(store, run, runs)
    return Verdict(
        rounds=sum(len(one.steps) + len(one.damaged_rounds - one.steps.keys()) for one in runs),
        events=sum(one.events for one in runs),
        findings=(*(finding for one in runs for finding in one.findings), *noticed),
        unchecked=tuple(text for one in runs for text in _unchecked(one)),
        erased=erased,
    )


def _verify_rounds(run: RunEvidence) -> None:
    # 6: continuity
    before: Step | None = None
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


def _verify_models(case: Case, run: RunEvidence, read: Reading) -> None:
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
            read(schema.nbytes)
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
        else:
            _verify_broadcast(case, run, step, model, schema)
        if t + 1 not in run.steps and t + 1 not in run.geneses:
            model = None


def _verify_broadcast(
    case: Case, run: RunEvidence, step: Step, model: Bytes, schema: TensorSchema
) -> None:
    if step.broadcast_digest is None or not can_be_made(step.form):
        return
    found = schema.model_digest(transformation(step.form)(model, schema))
    if found != step.broadcast_digest:
        detail = (
            f"what devices run in place of model {step.round + 1} ({step.form}) is {found[:16]}… "
            f"when made of the master weights, and recorded as {step.broadcast_digest[:16]}…; what "
            f"ran on devices cannot be told"
        )
        file = str(step.segment.heads.relative_to(case.path))
        run.findings.append(Violation("broadcast_digest", run.name, file, step.round, detail))


def _unchecked(run: RunEvidence) -> Iterator[str]:
    for form in sorted({step.form for step in run.steps.values()}):
        rounds = [
            t
            for t, step in run.steps.items()
            if step.form == form and step.broadcast_digest is not None
        ]
        if rounds and not can_be_made(form):
            yield (
                f"run {run.name!r} ships its models as {form!r}, which cannot be made here: "
                f"{len(rounds):,} broadcast digests were not looked at, from round {min(rounds)} on"
            )


def _blame(case: Case, run: RunEvidence, step: Step | None, t: int, detail: str) -> None:
    file = None if step is None else str(step.segment.vec.relative_to(case.path))
    run.findings.append(Violation("model_digest", run.name, file, t, detail))


def _noticed_by_ingest(
    store: Store, run: str | None, runs: list[RunEvidence]
) -> tuple[Violation, ...]:
    # 9: what never came into a segment
    known = {(one.kind, one.run, one.round) for each in runs for one in each.findings}
    sql = (resources.files("forensics") / "sql" / "noticed_by_ingest.sql").read_text()
    rows = store.rows(sql, {"run": run})
    return tuple(
        Violation(str(kind), str(about or ""), None, round_, str(detail))
        for kind, about, round_, detail in rows
        if (kind, about, round_) not in known
    )
