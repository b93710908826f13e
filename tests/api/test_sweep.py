"""Does a sweep run every point once, keep what it knows, and report what it could not run?"""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from doors import ROUNDLOG, invoke, wait_for
from PIL import Image

from api.lab.figure import lines
from api.lab.plan import Variation, parse_seeds, parse_variation, plan, point_label
from api.lab.sweep import Sweep, run_sweep
from api.lab.workers import Task, Workers
from api.parameters import ParameterError
from forensics.evaluation.statistics import spread
from roundlog.case import Case
from roundlog.errors import ScenarioError

SMALL = (
    "model.warm_up=20", "population.archetypes=32", "probes.clean=50", "probes.pool=60",
    "probes.decoys=4", "probes.decoy_queries=5", "probes.trigger_queries=20", "audits.every=25",
    "audits.items=2", "attack.onset=5", "rounds=40",
)  # fmt: skip
SETS = tuple(word for setting in SMALL for word in ("--set", setting))
TIMED = ("cpu_seconds", "simulate_cpu_seconds")
FRACTIONS = Variation("fraction", ("0", "0.02"))


def _run(cache: Path, **options: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "seeds": (1, 2),
        "overrides": SMALL,
        "over": [FRACTIONS],
        "workers": 1,
    } | options
    return run_sweep(Sweep("quickstart", cache=cache, **given))


def _untimed(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [{key: row[key] for key in row if key not in TIMED} for row in document["rows"]]


Swept = tuple[dict[str, Any], Path]


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    """A small sweep by one worker, and the cache that it left."""
    folder = tmp_path_factory.mktemp("swept")
    return _run(folder), folder


def test_one_variation_is_walked_through(swept: Swept) -> None:
    document, _ = swept
    assert [(row["fraction"], row["seed"]) for row in document["rows"]] == [
        (0.0, 1), (0.0, 2), (0.02, 1), (0.02, 2),
    ]  # fmt: skip
    assert [row["point"] for row in document["rows"][1:3]] == [
        {"fraction": 0.0},
        {"fraction": 0.02},
    ]
    assert [row["twin"] for row in document["rows"]] == [True, True, False, False]
    assert document["errors"] == []
    promised = {"asr", "asr_low", "asr_high", "accuracy", "highest", "crossing_10", "crossing_50",
                "crossing_90", "cpu_seconds"}  # fmt: skip
    assert promised <= set(document["rows"][0])


def test_a_summary_holds_the_statistics_of_its_seeds(swept: Swept) -> None:
    document, _ = swept
    assert [one["point"] for one in document["summary"]] == [{"fraction": 0.0}, {"fraction": 0.02}]
    for one in document["summary"]:
        mine = [row for row in document["rows"] if row["fraction"] == one["fraction"]]
        assert one["seeds"] == len(mine) == 2
        assert one["asr"] == spread([row["asr"] for row in mine]).document()
        crossed = sum(row["crossing_50"] is not None for row in mine)
        assert (one["crossing_50_share"]["k"], one["crossing_50_share"]["n"]) == (crossed, 2)


def test_the_table_does_not_depend_on_the_number_of_workers(swept: Swept, tmp_path: Path) -> None:
    document, _ = swept
    assert _untimed(_run(tmp_path, workers=2)) == _untimed(document)


def test_what_is_known_is_not_simulated_again(
    swept: Swept, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, folder = swept

    def refuse(self: Workers, task: Task) -> None:
        raise AssertionError(f"seed {task.seed} was simulated")

    monkeypatch.setattr(Workers, "_give", refuse)
    assert _run(folder) == document
    # Another sweep that has points in common with it finds them too.
    part = _run(folder, over=[Variation("fraction", ("0.02",))], seeds=(2,))
    assert part["rows"] == document["rows"][3:]
    with pytest.raises(AssertionError, match="seed 3 was simulated"):
        _run(folder, seeds=(1, 2, 3))
    with pytest.raises(AssertionError, match="seed 1 was simulated"):
        _run(folder, rounds=30)


def test_several_variations_change_one_key_at_a_time_and_a_grid_multiplies_them() -> None:
    over = [FRACTIONS, Variation("mechanisms.clip", ("0.5", "2"))]
    one = [point.settings for point in plan("quickstart", (), over)]
    assert one == [
        {}, {"fraction": 0.0}, {"fraction": 0.02}, {"mechanisms.clip": 0.5},
        {"mechanisms.clip": 2.0},
    ]  # fmt: skip
    grid = plan("quickstart", (), over, grid=True)
    assert [(point.columns["fraction"], point.columns["mechanisms.clip"]) for point in grid] == [
        (0.0, 0.5), (0.0, 2.0), (0.02, 0.5), (0.02, 2.0),
    ]  # fmt: skip


def test_points_that_resolve_to_the_same_scenario_are_one() -> None:
    over = [Variation("fraction", ("0.01", "0.02")), Variation("mechanisms.clip", ("1", "0.5"))]
    points = plan("quickstart", (), over)
    assert [point.settings for point in points] == [
        {},
        {"fraction": 0.02},
        {"mechanisms.clip": 0.5},
    ]
    assert points[0].columns == {"fraction": 0.01, "mechanisms.clip": 1.0}


def test_every_point_has_one_twin_where_twins_are_wanted() -> None:
    points = plan("quickstart", (), [Variation("mechanisms.clip", ("1", "0.5"))], twin=True)
    assert [(point.columns["mechanisms.clip"], point.twin) for point in points] == [
        (1.0, False), (1.0, True), (0.5, False), (0.5, True),
    ]  # fmt: skip
    twins = plan("quickstart", (), [Variation("fraction", ("0", "0.01", "0.02"))], twin=True)
    assert [point.twin for point in twins] == [True, False, False]


def test_without_variations_the_scenario_itself_is_the_point() -> None:
    (point,) = plan("quickstart")
    assert (point.settings, point.columns) == ({}, {})
    assert point_label(point.settings) == "as it stands"


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("fraction=0,0.001", ("0", "0.001")),
        ("attack.shape=ramp, pulsed", ("ramp", "pulsed")),
        ('x="a,b",c', ('"a,b"', "c")),
        ("x=[1,2],[3]", ("[1,2]", "[3]")),
    ],
)
def test_values_are_separated_by_commas_outside_quotes_and_brackets(
    text: str, values: tuple[str, ...]
) -> None:
    assert parse_variation(text).values == values


@pytest.mark.parametrize("text", ["fraction", "=1", "fraction=", "fraction=0,,1"])
def test_a_variation_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="is not KEY=VALUE"):
        parse_variation(text)


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("3", (1, 2, 3)), ("3..5", (3, 4, 5)), ("4,1,9..10", (4, 1, 9, 10)), ("7..7", (7,))],
)
def test_seeds_are_a_number_a_range_or_a_list(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["0", "", "a", "5..3", "1,1", "-2", "1..999999999"])
def test_other_seeds_are_refused(text: str) -> None:
    with pytest.raises(ParameterError, match="--seeds"):
        parse_seeds(text)


def test_a_wrong_key_or_value_costs_nothing(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"mechanisms\.clap is not a field"):
        _run(tmp_path, over=[Variation("mechanisms.clap", ("1",))])
    with pytest.raises(ScenarioError, match="override 'fraction=2'"):
        _run(tmp_path, over=[Variation("fraction", ("0", "2"))])
    with pytest.raises(ParameterError, match="varied by two"):
        _run(tmp_path, over=[FRACTIONS, FRACTIONS])
    with pytest.raises(ParameterError, match=r"--rounds 41 .* has 40 rounds"):
        _run(tmp_path, rounds=41)
    assert list(tmp_path.iterdir()) == []


def _sweep_command(tmp_path: Path, *options: object) -> tuple[list[str], dict[str, str]]:
    (tmp_path / "scratch").mkdir(exist_ok=True)
    words = [
        "sweep",
        "quickstart",
        *SETS,
        "--workers",
        "1",
        "--cache",
        tmp_path / "cache",
        *options,
    ]
    environment = {**os.environ, "TMPDIR": str(tmp_path / "scratch")}
    return [str(ROUNDLOG), *map(str, words)], environment


def test_a_killed_sweep_goes_on_where_it_was_and_leaves_nothing_behind(tmp_path: Path) -> None:
    command, environment = _sweep_command(tmp_path, "--seeds", "6", "--json")
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    wait_for(lambda: any((tmp_path / "cache").rglob("*.json")), "a finished point", 60)
    process.kill()
    process.communicate(timeout=10)
    finished = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").rglob("*.json")}
    assert 1 <= len(finished) < 6
    # The worker finds out that its parent is gone, and takes its half case with it.
    scratch = tmp_path / "scratch"
    wait_for(lambda: not any(scratch.glob("*/*")), "the orphan to clean up", 60)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [row["seed"] for row in json.loads(done.stdout)["rows"]] == [1, 2, 3, 4, 5, 6]
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 6


def test_an_interrupted_sweep_ends_at_once_and_keeps_what_is_finished(tmp_path: Path) -> None:
    command, environment = _sweep_command(tmp_path, "--seeds", "50", "--json")
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: any((tmp_path / "cache").rglob("*.json")), "a finished point", 60)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    said, errors = process.communicate(timeout=20)
    assert process.returncode == 130
    assert time.monotonic() - began < 10
    assert said == ""
    assert "interrupted" in errors
    assert "Traceback" not in errors
    assert list((tmp_path / "scratch").iterdir()) == []
    assert any((tmp_path / "cache").rglob("*.json"))


def test_a_point_that_fails_is_reported_and_stops_no_other(tmp_path: Path) -> None:
    # At this server rate a model overflows, and the recorder refuses numbers that are not finite.
    out = ("--out", tmp_path / "out", "--json")
    done = invoke(
        "sweep", "quickstart", *SETS, "--over", "server.lr=1e38,0.25", "--seeds", "1",
        "--cache", tmp_path / "cache", "--workers", "1", *out,
    )  # fmt: skip
    assert done.exit_code == 1
    document = json.loads(done.stdout)
    assert [row["server.lr"] for row in document["rows"]] == [0.25]
    (failed,) = document["errors"]
    assert (failed["point"], failed["seed"]) == ({"server.lr": 1e38}, 1)
    assert "finite" in failed["error"]
    assert "failed: server.lr=1e+38, seed 1" in done.stderr
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 1


def test_kept_cases_can_be_asked_and_hold_no_truth(swept: Swept, tmp_path: Path) -> None:
    document, known = swept
    folder = tmp_path / "cache"
    shutil.copytree(known, folder)
    options = {
        "over": [Variation("fraction", ("0.02",))],
        "seeds": (2,),
        "keep": tmp_path / "cases",
    }
    again = _run(folder, **options)
    assert _untimed(again) == _untimed(document)[3:]
    (kept,) = (tmp_path / "cases").iterdir()
    assert {path.name for path in kept.iterdir()} == {"case", "truth.json"}
    assert Case(kept / "case").segments.is_dir()
    probed = invoke("probe", kept / "case", "--trigger", kept / "truth.json", "--json")
    assert json.loads(probed.stdout)["asr"] == again["rows"][0]["asr"]
    made = kept.stat().st_mtime_ns
    _run(folder, **options)
    assert kept.stat().st_mtime_ns == made


def test_the_command_writes_a_table_a_figure_and_tells_the_medians(
    swept: Swept, tmp_path: Path
) -> None:
    document, folder = swept
    words = ("sweep", "quickstart", *SETS, "--over", "fraction=0,0.02", "--seeds", "2")
    done = invoke(*words, "--cache", folder, "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert "fraction=0.02" in done.stdout
    table = pl.read_parquet(tmp_path / "out" / "sweep.parquet")
    assert table["asr"].to_list() == [row["asr"] for row in document["rows"]]
    assert table["path_asr"].to_list()[3] == document["rows"][3]["path"]["asr"]
    written = pl.read_csv(tmp_path / "out" / "sweep.csv")
    assert written.columns[:3] == ["fraction", "twin", "seed"]
    assert written["accuracy"].to_list() == table["accuracy"].to_list()
    with Image.open(tmp_path / "out" / "sweep.png") as image:
        assert image.width >= 1_200
    assert "fraction=0.02" in (tmp_path / "out" / "sweep.svg").read_text()


def test_json_is_one_document_without_files_and_jsonl_one_a_row(
    swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document, folder = swept
    monkeypatch.chdir(tmp_path)
    words = ("sweep", "quickstart", *SETS, "--over", "fraction=0,0.02", "--seeds", "2")
    words = (*words, "--cache", str(folder))
    assert json.loads(invoke(*words, "--json").stdout) == document
    rows = [json.loads(line) for line in invoke(*words, "--jsonl").stdout.splitlines()]
    assert rows == document["rows"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--json", "--jsonl"), "choose one"), (("--json", "--keep"), "--out DIR")],
)
def test_options_that_contradict_each_other_are_refused(
    options: tuple[str, ...], said: str
) -> None:
    refused = invoke("sweep", "quickstart", "--seeds", "1", *options)
    assert refused.exit_code == 2
    assert said in refused.stderr


def test_the_figure_s_band_holds_its_median_and_every_seed(swept: Swept) -> None:
    document, _ = swept
    drawn = lines(document)
    assert [line.label for line in drawn] == ["fraction=0", "fraction=0.02"]
    for line in drawn:
        assert line.seeds == 2
        assert (line.low <= line.median).all()
        assert (line.median <= line.high).all()
    paths = [row["path"]["asr"] for row in document["rows"][2:]]
    assert drawn[1].low.tolist() == [min(pair) for pair in zip(*paths, strict=True)]
