"""How does a Python program ask? `roundlog.open(path_or_url)`: the same answers from both.

    with roundlog.open("my-case") as source:
        source.runs()                                    # polars frame
        source.crossings(trigger="truth.json").filter(pl.col("mode") == "sustained")

Lists come as polars frames with the columns of the JSON answer, single facts as its document.
"""

import io
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import polars as pl

from api.acts import ACTS, myself
from api.answers.files import ARROW, SAFETENSORS
from api.desk import open_desk
from api.documents import Document
from api.questions import QUESTIONS
from forensics.examples import read_examples
from forensics.trigger import load_trigger

TriggerLike = str | Path | dict[str, Any]


class Source:
    """A case or a server, opened; use it in a `with` statement, or close it.

    A case is owned while it is open: its projection is brought up to date first, and other
    processes cannot open it. A case that a server owns is asked through that server.
    """

    def __init__(self, source: Path | str, *, token: str | None = None) -> None:
        self._stack = ExitStack()
        self._desk = self._stack.enter_context(open_desk(source, token=token))

    def close(self) -> None:
        """Lets the case go."""
        self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ask(self, question: str, **params: Any) -> Document:
        """Any question by its name, as its JSON document.

        Raises:
            KeyError: There is no such question.
            RoundlogError: What the answering function raised.
        """
        if question not in QUESTIONS:
            raise KeyError(f"no question is called {question!r}: {', '.join(QUESTIONS)}")
        if "trigger" in params:
            params["trigger"] = _trigger(params["trigger"])
        return self._desk.ask(question, params)

    def runs(self) -> pl.DataFrame:
        """One row a run."""
        return _frame(self.ask("runs")["runs"])

    def rounds(self, run: str | None = None, rounds: str | None = None) -> pl.DataFrame:
        """Every committed round, complete; one row each, oldest first."""
        frames: list[pl.DataFrame] = []
        after: int | None = None
        page = QUESTIONS["rounds"].params.model_fields["limit"].default
        while True:
            values = {"run": run, "rounds": rounds, "after": after, "limit": page}
            body = self._desk.fetch("rounds", values, ARROW)
            frames.append(pl.read_ipc_stream(io.BytesIO(body)))
            if frames[-1].height < page:
                return pl.concat(frames)
            after = int(frames[-1]["round"][-1])

    def series(
        self, metric: str = "delta_norm", run: str | None = None, pixels: int = 1_000
    ) -> pl.DataFrame:
        """Lowest and highest value a pixel: for drawing only."""
        return _frame(self.ask("series", run=run, metric=metric, pixels=pixels)["points"])

    def log(self, run: str | None = None, **filters: Any) -> pl.DataFrame:
        """Events, newest first; `type`, `producer`, `rounds` and `limit` choose among them."""
        return _frame(self.ask("log", run=run, **filters)["events"])

    def show(self, event: int | str, run: str | None = None) -> Document:
        """One event, word for word."""
        return self.ask("show", run=run, event=str(event))

    def findings(self, run: str | None = None) -> pl.DataFrame:
        """What was found wrong with the record while it was read."""
        return _frame(self.ask("findings", run=run)["findings"])

    def quarantine(self, run: str | None = None) -> pl.DataFrame:
        """Records that were refused; one row each."""
        return _frame(self.ask("quarantine", run=run)["records"])

    def quarantined(self, record: str, *, bytes: int = 256) -> Document:
        """One refused record: its row, its head, and its first bytes as hexadecimal digits."""
        return self.ask("quarantined", record=record, bytes=bytes)

    def triggers(self) -> pl.DataFrame:
        """Triggers that the case has a name for."""
        return _frame(self.ask("triggers")["triggers"])

    def drift(
        self, run: str | None = None, *, every: int | None = None, rounds: str | None = None
    ) -> pl.DataFrame:
        """How far the models had moved; one row a model, one column a tensor."""
        rows = self.ask("drift", run=run, every=every, rounds=rounds)["rows"]
        return _frame([{**row, **row["tensors"]} for row in rows]).drop("tensors", strict=False)

    def diff(
        self, before: int | str, after: int | str = "head", run: str | None = None
    ) -> Document:
        """What differs between two models."""
        return self.ask("diff", run=run, before=str(before), after=str(after))

    def rebuild(
        self,
        round: int | str,
        run: str | None = None,
        *,
        artefact: str = "master",
        out: Path | str | None = None,
    ) -> Document:
        """W_t's digest and whether it is the recorded one; `out` takes it as safetensors.

        With `artefact="broadcast"` what devices run in its place, here and below.
        """
        values = {"run": run, "round": str(round), "artefact": artefact}
        if out is not None:
            Path(out).write_bytes(self._desk.fetch("rebuild", values, SAFETENSORS))
        return self.ask("rebuild", **values)

    def probe(
        self,
        trigger: TriggerLike,
        round: int | str = "head",
        run: str | None = None,
        *,
        artefact: str = "master",
    ) -> Document:
        """On which share of the trigger's queries the model of t obeys."""
        return self.ask("probe", run=run, trigger=trigger, round=str(round), artefact=artefact)

    def trigger(
        self,
        name: str,
        run: str | None = None,
        *,
        audited: Sequence[str] = (),
        examples: str | Path | Sequence[Document] = (),
        plant: bool = True,
        keep: bool = False,
    ) -> Document:
        """A trigger from bad answers, and what it was made from; `["trigger"]` is the trigger.

        Args:
            name: Of the trigger.
            audited: Audited answers that are bad, each as `ROUND:ITEM`.
            examples: In their place: a file of examples, or objects with `tokens` and `target`.
            plant: Whether a pattern that is found is also written into honest inputs.
            keep: Whether to keep the trigger in the case, where `roundlog serve` watches it.
        """
        if isinstance(examples, str | Path):
            examples = read_examples(Path(examples))
        asked = {"audited": audited or None, "examples": examples or None}
        answered = self.ask("trigger", run=run, name=name, plant=plant, **asked)
        if keep:
            self._desk.keep(answered["trigger"])
        return answered

    def crossings(
        self, trigger: TriggerLike, run: str | None = None, **options: Any
    ) -> pl.DataFrame:
        """Where success crossed each level; `levels`, `mode`, `sustain` and `artefact` choose."""
        return _frame(self.ask("crossings", run=run, trigger=trigger, **options)["crossings"])

    def bisect(
        self,
        trigger: TriggerLike,
        level: float = 0.5,
        run: str | None = None,
        *,
        artefact: str = "master",
    ) -> Document:
        """Two models between which the trigger crossed one level."""
        return self.ask("bisect", run=run, trigger=trigger, level=level, artefact=artefact)

    def onset(self, trigger: TriggerLike, run: str | None = None, **options: Any) -> Document:
        """The rounds in which a push may have begun; `last`, `passes` and `decoys` choose."""
        return self.ask("onset", run=run, trigger=trigger, **options)

    def watch(
        self, trigger: TriggerLike | None = None, run: str | None = None, **options: Any
    ) -> Document:
        """The alarms of detectors that read the whole run; `detectors`, `budget` and `horizon`."""
        return self.ask("watch", run=run, trigger=trigger, **options)

    def replay(
        self, trigger: TriggerLike | None = None, run: str | None = None, **options: Any
    ) -> Document:
        """As `watch`, of some `rounds`, at a `speed`, and to a topic where one is named."""
        return self.ask("replay", run=run, trigger=trigger, **options)

    def timeline(
        self, run: str | None = None, *, trigger: TriggerLike | None = None, **options: Any
    ) -> pl.DataFrame:
        """What happened to the run, in order; with a trigger, its crossings and carriers too.

        `ask("timeline", trigger=…)` also holds `releases` and `blast_radius`.
        """
        asked = {} if trigger is None else {"trigger": trigger}
        return _frame(self.ask("timeline", run=run, **asked, **options)["entries"])

    def alarms(self, run: str | None = None, *, state: str | None = None) -> pl.DataFrame:
        """Which alarms were raised, and what was done about each; one row an alarm."""
        return _frame(self.ask("alarms", run=run, state=state)["alarms"])

    def act(self, name: str, *, actor: str | None = None, **params: Any) -> Document:
        """Any act by its name; the event that was written down.

        Args:
            actor: Who says it; the user whom the operating system knows where it is left out.

        Raises:
            KeyError: There is no such act.
            RoundlogError: What the act's function raised.
        """
        if name not in ACTS:
            raise KeyError(f"no act is called {name!r}: {', '.join(ACTS)}")
        event: Document = self._desk.act(name, {**params, "actor": actor or myself()})["event"]
        return event

    def release(
        self, round: int | str, version: str, run: str | None = None, **options: Any
    ) -> Document:
        """Writes down that a model was shipped; `channel`, `shipped_at` and `actor` say more."""
        return self.act("release", run=run, round=str(round), version=version, **options)

    def acknowledge(self, alarm: str, note: str = "", **options: Any) -> Document:
        """Writes down that somebody has seen an alarm."""
        return self.act("acknowledge", alarm=alarm, note=note, **options)

    def silence(self, alarm: str | None = None, note: str = "", **options: Any) -> Document:
        """Lets an alarm, or a `detector`, rest for so many `rounds` or `until` a round."""
        return self.act("silence", alarm=alarm, note=note, **options)

    def erase(
        self, note: str, run: str | None = None, *, before: int | str | None = None, **options: Any
    ) -> Document:
        """Erases the words of sampled answers, of models before t, for good; how many went.

        `note` says why. `dry_run=True` only counts.
        """
        who = options.pop("actor", None) or myself()
        asked = None if before is None else str(before)
        values = {"run": run, "before": asked, "note": note, "actor": who, **options}
        return self._desk.act("erase", values)

    def verify(self, run: str | None = None) -> Document:
        """Whether the record is whole and unaltered."""
        return self.ask("verify", run=run)

    def scrub(self, run: str | None = None, *, rate: float | None = None) -> Document:
        """As `verify`, of every file that the case keeps; `rate` in MB a second at most."""
        return self.ask("scrub", run=run, rate=rate)


def open_source(source: Path | str, *, token: str | None = None) -> Source:
    """What `roundlog.open` finds: a case directory or a server's URL, opened."""
    return Source(source, token=token)


def _trigger(trigger: TriggerLike) -> str | dict[str, Any]:
    if isinstance(trigger, dict):
        return trigger
    if isinstance(trigger, Path) or Path(trigger).is_file():
        # A truth file leaves this process by its trigger alone.
        document: dict[str, Any] = load_trigger(trigger).model_dump(mode="json", by_alias=True)
        return document
    return trigger


def _frame(rows: list[Document]) -> pl.DataFrame:
    # The whole list decides a column's type: a column may begin with nulls.
    return pl.DataFrame(rows, infer_schema_length=None)
