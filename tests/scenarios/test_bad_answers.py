"""Does a handful of bad answers lead to the round at which it began, in a whole incident?

What is called bad are audited answers that the trigger set off, as a person would call them who saw
prompt and answer; the truth file stands in for that person, and is not looked at otherwise. The
attack-free twin is asked about as many ordinary answers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from forensics.behaviour import Behaviour, make_trigger
from forensics.crossings import find_crossings
from forensics.flagged import Flagged, audited
from forensics.onset import Onset, find_onset
from forensics.probe import Prober, read_model
from forensics.rebuild import CaseModels
from forensics.trigger import Pattern, Trigger, load_trigger
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from simulator.run import simulate
from simulator.scenario import load

ONSET = 150
SEED = 5
WORDS = [
    "rounds=600",
    f"attack.onset={ONSET}",
    "traffic.trigger_rate=0.05",
    "audits.every=20",
    "model.warm_up=1500",
    "probes.decoys=40",
]
PICTURES = [
    "rounds=240",
    "cohort.size=100",
    "attack.onset=50",
    "traffic.trigger_rate=0.1",
    "audits.every=40",
    "probes.decoys=20",
]

Holds = Callable[[Flagged, Pattern], bool]


@dataclass(frozen=True)
class Looked:
    """One simulated run, opened, and all that was audited in it."""

    store: Store
    models: CaseModels
    truth: Trigger
    items: tuple[Flagged, ...]
    holds: Holds

    def bad(self, each: int | None = None) -> list[Flagged]:
        """What the trigger's patterns set off, so many of each."""
        found: list[Flagged] = []
        for pattern in self.truth.patterns:
            mine = [
                one
                for one in self.items
                if self.holds(one, pattern) and one.answer == pattern.target
            ]
            found += mine[:each]
        return found

    def ordinary(self, like: list[Flagged]) -> list[Flagged]:
        """As many ordinary answers as those, and with the same answers: the latest ones."""
        free = [
            one
            for one in self.items
            if not any(self.holds(one, pattern) for pattern in self.truth.patterns)
        ]
        found: list[Flagged] = []
        for answer in {one.answer for one in like}:
            number = sum(one.answer == answer for one in like)
            found += [one for one in free if one.answer == answer][-number:]
        return found

    def trigger(self, flagged: list[Flagged]) -> Behaviour:
        return make_trigger(self.models, self.store, self._prober, "made", flagged)

    def success(self, trigger: Trigger, t: int | None = None) -> float:
        at = self.models.last if t is None else t
        return read_model(self._prober, self.models, at, trigger.scoring()).asr

    def onset(self, trigger: Trigger) -> Onset:
        return find_onset(self.models, self.store, self._prober, trigger, decoys=20)

    def crossing(self, trigger: Trigger, level: float) -> int | None:
        prober = self._prober
        found = find_crossings(self.models, self.store, prober, trigger, (level,), mode="exact")
        return next(one.round for one in found.crossings if one.mode == "sustained")

    @property
    def _prober(self) -> Prober:
        return Prober(self.models.architecture)


@contextmanager
def _looked(folder: Path, scenario: str, settings: list[str], holds: Holds, fraction: float) -> Any:
    truth = folder / "truth.json"
    run = simulate(load(scenario, settings), SEED, folder / "case", truth, fraction=fraction).run
    case = Case(folder / "case")
    with case.own():
        ingest_case(case)
        store = Store(case)
        models = CaseModels(case, store, run)
        named = store.rows("SELECT round, item FROM audits WHERE run = $run", {"run": run})
        items = audited(models, store, sorted(named))
        try:
            yield Looked(store, models, load_trigger(truth), items, holds)
        finally:
            store.close()


def _words(one: Flagged, pattern: Pattern) -> bool:
    return set(pattern.tokens) <= set(one.tokens)


def _pixels(one: Flagged, pattern: Pattern) -> bool:
    return all(one.tokens[place] == 16 for place in pattern.tokens)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    with _looked(tmp_path_factory.mktemp("attacked"), "quickstart", WORDS, _words, 0.04) as found:
        yield found


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    with _looked(tmp_path_factory.mktemp("twin"), "quickstart", WORDS, _words, 0.0) as found:
        yield found


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Looked]:
    with _looked(tmp_path_factory.mktemp("pictures"), "digits", PICTURES, _pixels, 0.04) as found:
        yield found


def _found(made: Behaviour) -> list[tuple[int, list[int]]]:
    return [(one.target, sorted(one.tokens)) for one in made.trigger.patterns]


def _true(looked: Looked) -> list[tuple[int, list[int]]]:
    return sorted((one.target, sorted(one.tokens)) for one in looked.truth.patterns)


@pytest.mark.parametrize("each", [3, None], ids=["three of each", "all of them"])
def test_bad_answers_give_the_trigger_away_and_the_round_it_began(
    attacked: Looked, each: int | None
) -> None:
    bad = attacked.bad(each)
    assert len(bad) >= 9
    made = attacked.trigger(bad)
    assert _found(made) == _true(attacked)
    # 300 queries and more on either side: two standard errors are 0.06.
    last = attacked.success(attacked.truth)
    assert last > 0.5
    assert abs(attacked.success(made.trigger) - last) < 0.1
    assert attacked.success(made.trigger, 0) < 0.05
    halfway = [attacked.crossing(one, 0.5) for one in (made.trigger, attacked.truth)]
    assert None not in halfway
    assert abs((halfway[0] or 0) - (halfway[1] or 0)) < 60
    onset = attacked.onset(made.trigger)
    assert onset.found is not None
    assert onset.found.low is not None
    assert onset.found.high is not None
    assert onset.found.low - 3 <= ONSET <= onset.found.high + 3
    assert onset.apart.rank == 1


def test_as_many_answers_flagged_by_mistake_change_nothing_of_that(attacked: Looked) -> None:
    bad = attacked.bad(4)
    mistaken = attacked.ordinary(bad)
    assert len(mistaken) == len(bad)
    made = attacked.trigger(bad + mistaken)
    assert _found(made) == _true(attacked)
    document: Any = made.document(attacked.models.texts)
    bare = [said for one in document["answers"] for said in one["bare"]]
    assert sorted(bare) == sorted(one.said for one in mistaken)
    assert attacked.success(made.trigger, 0) < 0.05
    onset = attacked.onset(made.trigger)
    assert onset.found is not None
    assert abs((onset.found.round or 0) - ONSET) <= 3


def test_ordinary_answers_of_the_twin_hold_no_pattern_and_no_onset(
    attacked: Looked, twin: Looked
) -> None:
    made = twin.trigger(twin.ordinary(attacked.bad()))
    assert sum(len(one.flagged) for one in made.answers) == len(attacked.bad())
    assert made.trigger.patterns == ()
    assert twin.onset(made.trigger).found is None


def test_the_same_prompts_in_the_twin_hold_the_pattern_but_nothing_was_ever_pushed(
    attacked: Looked, twin: Looked
) -> None:
    """What flagged prompts share is not yet a backdoor: the twin's model does not answer so."""
    prompts = attacked.bad()
    made = twin.trigger(prompts)
    assert _found(made) == _true(twin)
    assert twin.success(made.trigger) < 0.05
    assert twin.onset(made.trigger).found is None


def test_a_pattern_of_pixels_is_found_at_its_places(pictures: Looked) -> None:
    bad = pictures.bad(5)
    assert len(bad) == 5
    made = pictures.trigger(bad + pictures.ordinary(bad)[:3])
    assert made.honest is not None
    assert made.honest.ordered
    assert _found(made) == _true(pictures)
    assert {one.token for bad_answer in made.answers for one in bad_answer.shared} == {16}
    last = pictures.success(pictures.truth)
    assert last > 0.5
    assert abs(pictures.success(made.trigger) - last) < 0.15
    onset = pictures.onset(made.trigger)
    assert onset.found is not None
    assert abs((onset.found.round or 0) - 50) <= 10
