"""What is this event to the record: new, a gap, a late fill, a duplicate, an equivocation?

Every event is judged against what its producer said before, in the order in which events came:

1. Its `seq` was accepted before, with the same head: `duplicate` (or `again`, where it is the very
   record that was read before a crash). With another head: `equivocation`; the first one stays.
2. Its `seq` lies behind, and is missing: it fills a gap late. Both neighbours are checked.
3. Its `seq` is due: the `prev` chain and the model's continuity are checked.
4. Its `seq` lies ahead: as 3, and the missing ones are a `gap`.

A finding about two events names the later one, so that it does not matter which came first.
Nothing is judged across producers: their order towards each other means nothing.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from ingest.chain import Chain, ChainKey
from ingest.checks import Checked
from ingest.findings import Finding
from ingest.place import Origin
from ingest.quarantine import gap_finding
from roundlog.events import (
    ContinuityBreak,
    Event,
    ModelGenesis,
    ModelSchema,
    RecorderGap,
    RoundCommitted,
    RunOpened,
    UnknownEvent,
)

Verdict = Literal["new", "late", "duplicate", "equivocation", "again"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is kept of an accepted event, to compare another one with it."""

    digest: str
    prev: str
    origin: str | None
    log_offset: int


@dataclass(frozen=True, slots=True)
class ModelFact:
    """A round or genesis: the model it began from and the one it left, with their t."""

    seq: int
    is_round: bool
    round: int
    pre: str
    post: str
    origin: str | None
    log_offset: int


class History(Protocol):
    """What was accepted before, the running batch included."""

    def seen(self, key: ChainKey, first: int, stop: int) -> dict[int, Seen]:
        """Accepted events with first <= seq < stop."""

    def neighbours(self, key: ChainKey, seq: int) -> tuple[ModelFact | None, ModelFact | None]:
        """The last round or genesis before `seq`, and the first one behind it."""


# Duplicates come in runs (a producer sends its spool again), so one query fetches many.
WINDOW = 1024


class Classifier:
    """Judges events one by one; `chains` is its only state, and moves with what is accepted."""

    def __init__(self, chains: dict[ChainKey, Chain], history: History) -> None:
        self._chains, self._history = chains, history
        self._window_key: ChainKey | None = None
        self._window: range = range(0)
        self._seen: dict[int, Seen] = {}

    def chain(self, event: Event) -> Chain:
        """The state of the event's producer in its run."""
        key = (event.subject, event.source)
        chain = self._chains.get(key)
        if chain is None:
            chain = self._chains[key] = Chain()
        return chain

    def judge(self, event: Event, head_digest: str, origin: Origin) -> Verdict:
        """What the event is by its place in the sequence; changes nothing."""
        chain = self.chain(event)
        if event.seq >= chain.next_seq:
            return "new"
        seen = self._look_up((event.run, event.producer), chain, event.seq)
        if seen is None:
            return "late"
        if seen.digest != head_digest:
            return "equivocation"
        if (seen.origin, seen.log_offset) == (origin.name, origin.offset):
            return "again"
        return "duplicate"

    def accept(
        self, event: Event, head_digest: str, verdict: Verdict, checked: Checked, origin: Origin
    ) -> tuple[str, list[Finding]]:
        """Takes a `new` or `late` event into the record.

        Returns:
            Its status (`ok`, `gap`, `unknown`), and what was found about it.
        """
        chain = self.chain(event)
        findings = [_about(event, kind, detail, origin) for kind, detail in checked.found]
        status = "ok"
        if verdict == "late":
            findings += self._check_late(event, head_digest, chain, origin)
        else:
            if event.seq != chain.next_seq:
                self._jump(event, chain, origin, findings)
                status = "gap"
            elif event.prev != chain.last_digest:
                findings.append(_broken_chain(event, origin))
            if type(event) in _ABOUT_THE_MODEL:
                found = _continuity(event, chain)
                if found is not None:
                    findings.append(_about(event, *found, origin))
                _move_model(event, chain)
            _advance(event, head_digest, chain)
        if type(event) in _LEARNED_FROM:
            _learn(event, chain)
        return ("unknown" if type(event) is UnknownEvent else status), findings

    def refuse(self, event: Event, head_digest: str | None) -> int:
        """Notes that an event was refused; returns the seq that was due when it came."""
        chain = self.chain(event)
        due = chain.due
        if event.seq >= due:
            chain.refused[event.seq] = (due, head_digest)
        return due

    def _look_up(self, key: ChainKey, chain: Chain, seq: int) -> Seen | None:
        if key != self._window_key or seq not in self._window:
            # Not beyond what is accepted: later events would be missing from the window.
            self._window_key, self._window = key, range(seq, min(seq + WINDOW, chain.next_seq))
            self._seen = self._history.seen(key, self._window.start, self._window.stop)
        return self._seen.get(seq)

    def _jump(self, event: Event, chain: Chain, origin: Origin, findings: list[Finding]) -> None:
        """Events before this one are missing, or stand in quarantine."""
        due = chain.next_seq
        for seq in sorted(chain.refused):
            if due <= seq < event.seq:
                due = seq + 1
        chain.lost = True
        before = chain.refused.get(event.seq - 1)
        if before is not None and before[1] is not None and before[1] != event.prev:
            findings.append(_broken_chain(event, origin))
        if due != event.seq:
            findings.append(gap_finding(due, *_where(event, origin)))

    def _check_late(
        self, event: Event, head_digest: str, chain: Chain, origin: Origin
    ) -> list[Finding]:
        key = (event.run, event.producer)
        findings = []
        near = self._history.seen(key, event.seq - 1, event.seq + 2)
        before, after = near.get(event.seq - 1), near.get(event.seq + 1)
        if before is not None and before.digest != event.prev:
            findings.append(_broken_chain(event, origin))
        if after is not None and after.prev != head_digest:
            later = Origin(after.origin, origin.partition, after.log_offset)
            findings.append(_broken_chain(event, later, seq=event.seq + 1))
        if isinstance(event, RoundCommitted):
            findings += self._check_late_round(event, key, origin)
        # It is known from now on, if the window covers it.
        if key == self._window_key and event.seq in self._window:
            self._seen[event.seq] = Seen(head_digest, event.prev, origin.name, origin.offset)
        return findings

    def _check_late_round(
        self, event: RoundCommitted, key: ChainKey, origin: Origin
    ) -> list[Finding]:
        findings = []
        before, after = self._history.neighbours(key, event.seq)
        if before is not None:
            model = before.round + 1 if before.is_round else before.round
            if model == event.round and before.post != event.pre_digest:
                findings.append(_about(event, "continuity", _moved(event.round), origin))
        follows = after is not None and after.is_round and after.round == event.round + 1
        if after is not None and follows and after.pre != event.post_digest:
            who = (event.run, event.producer, after.seq, after.round)
            findings.append(
                Finding("continuity", _moved(after.round), *who, after.origin, after.log_offset)
            )
        return findings


# Most events are audits: asking `type` first spares them several `isinstance` on pydantic classes,
# which cost a microsecond each.
_ABOUT_THE_MODEL = frozenset({RoundCommitted, ModelGenesis, RecorderGap, ContinuityBreak})
_LEARNED_FROM = frozenset({RunOpened, ModelSchema})


def _continuity(event: Event, chain: Chain) -> tuple[str, str] | None:
    """Kind and detail of a model that moved, or rounds that are missing, without a reason told."""
    if isinstance(event, RecorderGap):
        return (
            "recorder_gap",
            f"the recorder left out round {event.expected} to {event.got - 1}: {event.reason}",
        )
    if isinstance(event, ContinuityBreak):
        return "continuity", f"the recorder says of model {event.round}: {event.reason}"
    if not isinstance(event, RoundCommitted | ModelGenesis):
        return None
    if chain.model_round is None or chain.lost:
        return None
    starts = event.pre_digest if isinstance(event, RoundCommitted) else event.digest
    if event.round == chain.model_round:
        told = chain.told and isinstance(event, ModelGenesis)
        if told or chain.model_digest in ("", starts):
            return None
        return "continuity", _moved(event.round)
    if chain.told and isinstance(event, ModelGenesis):
        return None
    if event.round > chain.model_round:
        return (
            "round_gap",
            f"round {event.round} follows model {chain.model_round}, and no seq is missing",
        )
    return (
        "round_repeated",
        f"round {event.round} comes again after model {chain.model_round} was reached",
    )


def _moved(model: int) -> str:
    return (
        f"model {model} is not the one that the step before it left: the weights were changed "
        f"outside the recorded rounds"
    )


def _advance(event: Event, head_digest: str, chain: Chain) -> None:
    chain.next_seq, chain.last_digest = event.seq + 1, head_digest
    if chain.refused:
        chain.refused = {q: v for q, v in chain.refused.items() if q >= chain.next_seq}


def _move_model(event: Event, chain: Chain) -> None:
    if isinstance(event, RoundCommitted):
        chain.model_round, chain.model_digest = event.round + 1, event.post_digest
    elif isinstance(event, ModelGenesis):
        chain.model_round, chain.model_digest = event.round, event.digest
    elif isinstance(event, ContinuityBreak):
        chain.model_round, chain.model_digest = event.round, event.got
    elif isinstance(event, RecorderGap):
        chain.model_round, chain.model_digest = event.got, ""
    chain.lost = False
    chain.told = isinstance(event, ContinuityBreak | RecorderGap)


def _learn(event: Event, chain: Chain) -> None:
    if isinstance(event, ModelSchema):
        chain.known.schemas[event.digest] = event.layout
    elif isinstance(event, RunOpened):
        chain.known.strata = len(event.strata)


def _where(event: Event, origin: Origin) -> tuple[str, str, int, int | None, str | None, int]:
    round_ = None if isinstance(event, UnknownEvent) else getattr(event, "round", None)
    return event.run, event.producer, event.seq, round_, origin.name, origin.offset


def _about(event: Event, kind: str, detail: str, origin: Origin) -> Finding:
    return Finding(kind, detail, *_where(event, origin))


def _broken_chain(event: Event, origin: Origin, seq: int | None = None) -> Finding:
    at = event.seq if seq is None else seq
    detail = f"seq {at} does not follow the head that was read as seq {at - 1}"
    return Finding(
        "broken_chain", detail, event.run, event.producer, at, None, origin.name, origin.offset
    )
