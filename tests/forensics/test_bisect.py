"""Is every step of a bisection shown, kept as a log, and the same when it is replayed?"""

import json
from pathlib import Path

import pytest
from rising_run import Rising, logistic, record_rising

from forensics.bisect import bisect_trigger, replay_trigger
from forensics.bisection import Bisection, Step, parse_log
from forensics.floor import decoy_floor
from forensics.probe import Prober
from forensics.search import BUDGET
from roundlog.errors import QuestionError, RoundRangeError

ROUNDS = 600


@pytest.fixture(scope="module")
def rising(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    path = tmp_path_factory.mktemp("bisect") / "case"
    return record_rising(path, logistic(ROUNDS, middle=0.4, width=0.06), seed=31)


@pytest.fixture(scope="module")
def bisection(rising: Rising) -> Bisection:
    with rising.open() as (_, models):
        return bisect_trigger(models, Prober(models.architecture), rising.trigger, 0.5)


def _replay(rising: Rising, log: str) -> Bisection:
    with rising.open() as (_, models):
        return replay_trigger(models, Prober(models.architecture), rising.trigger, log)


def test_it_ends_between_two_neighbouring_models(rising: Rising, bisection: Bisection) -> None:
    assert bisection.status == "crossed"
    assert bisection.low is not None
    assert bisection.high == bisection.low + 1
    with rising.open() as (_, models):
        prober, probes = Prober(models.architecture), rising.trigger.scoring()
        shares = [
            prober.hits(models.model(t)[None], probes).mean()
            for t in (bisection.low, bisection.high)
        ]
    assert shares[0] < 0.5 <= shares[1]
    assert bisection.claim.startswith(f"proved: model {bisection.low} is good")


def test_every_step_is_told_at_once_and_kept(rising: Rising, bisection: Bisection) -> None:
    told: list[Step] = []
    with rising.open() as (_, models):
        prober = Prober(models.architecture)
        bisect_trigger(models, prober, rising.trigger, 0.5, on_step=told.append)
    assert tuple(told) == bisection.steps
    assert len({step.round for step in told}) == len(told) <= BUDGET


def test_a_replayed_log_gives_the_same_bisection(rising: Rising, bisection: Bisection) -> None:
    again = _replay(rising, bisection.log())
    assert again.differences == ()
    assert again.log() == bisection.log()
    assert (again.low, again.high, again.zone) == (bisection.low, bisection.high, bisection.zone)


def test_a_log_that_says_otherwise_is_told_line_by_line(
    rising: Rising, bisection: Bisection
) -> None:
    lines = bisection.log().splitlines()
    at = next(i for i, line in enumerate(lines) if line.startswith("bad"))
    lines[at] = lines[at].replace("bad", "good", 1)
    again = _replay(rising, "\n".join(lines))
    assert again.differences is not None
    assert [one.line for one in again.differences] == [at + 1]
    one = again.differences[0]
    assert (one.logged[:4], one.found[:3]) == ("good", "bad")
    assert (again.low, again.high) == (bisection.low, bisection.high), "no log is believed"
    assert again.document()["same"] is False


def test_windows_line_ends_and_notes_of_a_person_do_not_matter(
    rising: Rising, bisection: Bisection
) -> None:
    lines = bisection.log().splitlines()
    lines[6:6] = ["", "# looked at by two people"]
    assert _replay(rising, "\r\n".join(lines)).differences == ()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda log: "git bisect start\n" + log, "its first line must be"),
        (lambda log: "", "its first line must be"),
        (lambda log: log.replace("# run ", "# Run ", 1), "lines 2 to 4"),
        (lambda log: log.replace("# models 0", "# models zero", 1), "lines 2 to 4"),
        (lambda log: log.replace("# run rising", "# run another", 1), "is of run 'another'"),
        (
            lambda log: log.replace(" level 0.5", " level 0.4", 1).replace("bad", "ugly", 1),
            "no step",
        ),
        (lambda log: log + "good 5 exit 0\n", "is no step"),
        (lambda log: log.replace("trigger ", "trigger 0", 1), "is no step"),
        (lambda log: "\n".join(log.splitlines()[:4]) + "\n", "holds no step"),
        (lambda log: log + "# x" * 1_000_000, "not a log"),
    ],
)
def test_what_is_no_log_of_this_run_is_refused(
    rising: Rising, bisection: Bisection, change: object, reason: str
) -> None:
    assert callable(change)
    with pytest.raises(QuestionError, match=reason):
        _replay(rising, change(bisection.log()))


def test_a_log_of_another_trigger_is_refused(rising: Rising, bisection: Bisection) -> None:
    queries = rising.trigger.queries[:60]
    other = rising.trigger.model_copy(update={"queries": queries})
    with (
        rising.open() as (_, models),
        pytest.raises(QuestionError, match="the trigger at hand has the probe digest"),
    ):
        replay_trigger(models, Prober(models.architecture), other, bisection.log())


@pytest.mark.parametrize("level", [0.000001, 0.1, 0.25, 1.0])
def test_any_level_survives_the_log(rising: Rising, level: float) -> None:
    with rising.open() as (_, models):
        prober = Prober(models.architecture)
        found = bisect_trigger(models, prober, rising.trigger, level, first=0, last=60)
        assert parse_log(found.log()).level == level
        assert replay_trigger(models, prober, rising.trigger, found.log()).differences == ()


def test_an_interval_can_be_named(rising: Rising) -> None:
    with rising.open() as (_, models):
        prober = Prober(models.architecture)
        early = bisect_trigger(models, prober, rising.trigger, 0.5, last=50)
        late = bisect_trigger(models, prober, rising.trigger, 0.5, first=500)
        with pytest.raises(RoundRangeError, match="models 0 to 600; 0 to 601 is no interval"):
            bisect_trigger(models, prober, rising.trigger, 0.5, last=601)
        with pytest.raises(RoundRangeError, match="90 to 80 is no interval"):
            bisect_trigger(models, prober, rising.trigger, 0.5, first=90, last=80)
    assert (early.status, early.high) == ("never", None)
    assert early.claim.startswith("not proved")
    assert (late.status, late.high) == ("at_start", 500)
    assert late.claim == "proved: model 500, the first one, is bad already"


def test_the_document_is_plain_json_and_names_the_floor(rising: Rising) -> None:
    with rising.open() as (store, models):
        prober = Prober(models.architecture)
        floor = decoy_floor(models, store, prober, rising.trigger)
        found = bisect_trigger(models, prober, rising.trigger, 0.5, floor=floor)
    told = json.loads(json.dumps(found.document(), allow_nan=False))
    assert (told["low"], told["high"], told["round"]) == (found.low, found.high, found.high)
    assert told["rebuilds"] == len(told["steps"]) <= BUDGET
    assert told["zone"]["low"] <= told["round"] <= told["zone"]["high"]
    assert (told["floor"], told["below_floor"]) == (floor.value, False)


def test_a_log_can_be_written_to_a_file_and_read_by_people(
    bisection: Bisection, tmp_path: Path
) -> None:
    path = tmp_path / "bisect.log"
    path.write_text(bisection.log())
    lines = path.read_text().splitlines()
    assert lines[:3] == ["# roundlog bisect log 1", "# run rising", f"# models 0 {ROUNDS}"]
    assert lines[4].startswith("good 0 ")
    assert lines[4].endswith("# coarse scan")
    assert lines[-1] == f"# {bisection.claim}"
