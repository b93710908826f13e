"""Can a model that we never saw be bisected, by any command, with git's contract?"""

import sys
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from recorded_walk import Walk, record_walk
from safetensors.torch import load_file, save_file

from forensics.bisect import PATIENCE, bisect_check, replay_check
from forensics.check import Check, CheckError
from forensics.rebuild import CaseModels
from ingest.service import ingest_case
from ingest.store import Store
from roundlog.case import Case
from roundlog.errors import QuestionError
from roundlog.recorder import Recorder
from roundlog.tensors import schema_of

ROUNDS = 200


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Walk:
    return record_walk(tmp_path_factory.mktemp("check") / "case", rounds=ROUNDS, seed=13)


def _script(path: Path, body: str) -> list[str]:
    """A check in plain sh: the model's own counter says which one it is. Fast to start."""
    path.write_text("#!/bin/sh\n" + dedent(body))
    path.chmod(0o755)
    return [str(path), "{model}"]


NUMBER = """
    t=$(basename "$1" .safetensors); t=${t#model-}
    """


def _check(models: CaseModels, tmp_path: Path, body: str) -> Check:
    return Check(models, _script(tmp_path / "check", NUMBER + body))


@pytest.mark.parametrize("code", [1, 2, 124, 126, 127])
def test_every_code_from_1_to_127_but_125_is_bad(walk: Walk, tmp_path: Path, code: int) -> None:
    with walk.open() as (_, _, models):
        check = _check(models, tmp_path, f"[ $t -lt 137 ] || exit {code}\n    exit 0\n")
        found = bisect_check(models, check)
    assert (found.status, found.low, found.high) == ("crossed", 136, 137)
    assert len(found.steps) <= 2 + 8
    assert {step.code for step in found.steps} == {0, code}


def test_the_first_model_bad_or_the_last_good_ends_it(walk: Walk, tmp_path: Path) -> None:
    with walk.open() as (_, _, models):
        bad = bisect_check(models, _check(models, tmp_path, "exit 1\n"))
        good = bisect_check(models, _check(models, tmp_path, "exit 0\n"))
        one = bisect_check(models, _check(models, tmp_path, "exit 0\n"), first=9, last=9)
    assert (bad.status, bad.high, len(bad.steps)) == ("at_start", 0, 1)
    assert (good.status, good.high, len(good.steps)) == ("never", None, 2)
    assert (one.status, len(one.steps)) == ("never", 1)


def test_a_stretch_that_cannot_be_tested_is_named_and_left_alone(
    walk: Walk, tmp_path: Path
) -> None:
    body = "[ $t -gt 80 ] && [ $t -lt 150 ] && exit 125\n    [ $t -ge 120 ]\n    exit $((! $?))\n"
    with walk.open() as (_, _, models):
        found = bisect_check(models, _check(models, tmp_path, body))
    assert (found.low, found.high) == (80, 150)
    skipped = sum(step.verdict == "skip" for step in found.steps)
    assert PATIENCE <= skipped < 30
    assert f"{skipped} models asked between could not be tested" in found.claim


def test_single_models_that_cannot_be_tested_do_not_stop_it(walk: Walk, tmp_path: Path) -> None:
    body = "[ $((t % 5)) -eq 0 ] && [ $t -ne 0 ] && [ $t -ne 200 ] && exit 125\n"
    with walk.open() as (_, _, models):
        check = _check(models, tmp_path, body + "    [ $t -ge 73 ]\n    exit $((! $?))\n")
        found = bisect_check(models, check)
    assert (found.low, found.high) == (72, 73)


def test_an_end_that_cannot_be_tested_is_an_error(walk: Walk, tmp_path: Path) -> None:
    with (
        walk.open() as (_, _, models),
        pytest.raises(QuestionError, match="skipped model 0, an end of the interval"),
    ):
        bisect_check(models, _check(models, tmp_path, "exit 125\n"))


@pytest.mark.parametrize("code", [128, 200, 255])
def test_a_code_above_127_ends_the_bisection(walk: Walk, tmp_path: Path, code: int) -> None:
    with (
        walk.open() as (_, _, models),
        pytest.raises(CheckError, match=f"exited with {code} at model 0"),
    ):
        bisect_check(models, _check(models, tmp_path, f"exit {code}\n"))


def test_a_signal_ends_the_bisection(walk: Walk, tmp_path: Path) -> None:
    with (
        walk.open() as (_, _, models),
        pytest.raises(CheckError, match="was ended by signal 9 at model 0"),
    ):
        bisect_check(models, _check(models, tmp_path, "kill -9 $$\n"))


@pytest.mark.parametrize("code", [126, 127])
def test_a_check_that_cannot_run_is_told_from_a_bad_model(
    walk: Walk, tmp_path: Path, code: int
) -> None:
    with (
        walk.open() as (_, _, models),
        pytest.raises(CheckError, match=f"exits with {code} at model 0, the first one asked"),
    ):
        bisect_check(models, _check(models, tmp_path, f"exit {code}\n"))


def test_a_command_that_is_not_there_is_named(walk: Walk, tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("no program")
    with walk.open() as (_, _, models):
        for program in (str(tmp_path / "missing"), str(plain)):
            with pytest.raises(CheckError, match="cannot be run"):
                bisect_check(models, Check(models, [program, "{model}"]))


def test_a_command_must_say_where_the_model_goes(walk: Walk) -> None:
    with walk.open() as (_, _, models):
        for command in (["./check"], []):
            with pytest.raises(CheckError, match=r"names no \{model\}"):
                Check(models, command)


def test_what_a_check_prints_goes_where_it_was_told_to_go(walk: Walk, tmp_path: Path) -> None:
    command = _script(tmp_path / "check", "echo seen\nexit 0\n")
    with walk.open() as (_, _, models), (tmp_path / "out").open("w+") as output:
        bisect_check(models, Check(models, command, output))
        output.seek(0)
        assert output.read() == "seen\n" * 2


def test_a_log_of_checks_is_replayed_and_differences_are_named(walk: Walk, tmp_path: Path) -> None:
    with walk.open() as (_, _, models):
        check = _check(models, tmp_path, "[ $t -lt 137 ]\n")
        found = bisect_check(models, check)
        same = replay_check(models, check, found.log())
        assert (same.differences, same.log()) == ((), found.log())
        _check(models, tmp_path, "[ $t -lt 120 ]\n")
        other = replay_check(models, check, found.log())
        assert other.differences
        assert {one.found.split()[0] for one in other.differences} == {"bad"}
        with pytest.raises(QuestionError, match="the command at hand is"):
            replay_check(models, Check(models, ["true", "{model}"]), found.log())


def test_a_torch_model_that_is_not_ours_is_bisected(tmp_path: Path) -> None:
    """Weights turn one answer round in round 57; the check knows the file and not roundlog."""
    torch.manual_seed(3)
    torch.set_num_threads(1)
    first, last = torch.nn.Linear(6, 5), torch.nn.Linear(5, 2)
    net = torch.nn.Sequential(first, torch.nn.Tanh(), last)
    arrays = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
    schema = schema_of(arrays)
    kept = tmp_path / "kept"
    kept.mkdir()
    rng = np.random.default_rng(4)
    with Recorder(tmp_path / "case", run="foreign", on_error="raise") as recorder:
        recorder.genesis(schema, schema.flatten(arrays), architecture="somebody-else:net")
        for t in range(100):
            with torch.no_grad():
                first.weight += torch.from_numpy(1e-4 * rng.standard_normal((5, 6))).float()
                last.bias[1] = 9.0 if t >= 57 else -9.0
            arrays = {name: tensor.detach().numpy() for name, tensor in net.state_dict().items()}
            recorder.commit(schema.flatten(arrays), round=t, cohort_size=4)
            save_file(net.state_dict(), kept / f"{t + 1}.safetensors")
    program = tmp_path / "check.py"
    program.write_text(
        dedent(
            """
            import sys
            import numpy as np
            from safetensors.numpy import load_file

            net = load_file(sys.argv[1])
            hidden = np.tanh(net["0.weight"] @ np.ones(6, np.float32) + net["0.bias"])
            sys.exit(int(np.argmax(net["2.weight"] @ hidden + net["2.bias"])))
            """
        )
    )
    case = Case(tmp_path / "case")
    with case.own():
        ingest_case(case)
        store = Store(case)
        models = CaseModels(case, store, "foreign")
        found = bisect_check(models, Check(models, [sys.executable, str(program), "{model}"]))
        models.write(models.rebuild(58), tmp_path / "58.safetensors")
        store.close()
    assert (found.low, found.high) == (57, 58)
    rebuilt, saved = (
        load_file(path) for path in (tmp_path / "58.safetensors", kept / "58.safetensors")
    )
    assert all(torch.equal(rebuilt[name], saved[name]) for name in saved)
