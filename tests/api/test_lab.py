"""Do the experiment's doors run: simulate, scenario, demo, and its picture?"""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from doors import invoke
from PIL import Image

from api.lab.demo import DemoError, run_demo
from api.lab.story import tell
from api.picture import Chart, draw


def test_scenarios_are_listed_shown_and_checked(tmp_path: Path) -> None:
    listed = json.loads(invoke("scenario", "--json").stdout)["scenarios"]
    assert {"quickstart", "mobileai7"} <= {one["name"] for one in listed}
    shown = invoke("scenario", "show", "quickstart", "--set", "attack.shape=ramp")
    assert 'shape = "ramp"' in shown.stdout
    mine = tmp_path / "mine.toml"
    mine.write_text(shown.stdout)
    checked = invoke("scenario", "check", mine, "--json")
    assert json.loads(checked.stdout)["ok"]


def test_a_wrong_scenario_is_refused_with_its_line_and_what_is_allowed(tmp_path: Path) -> None:
    text = invoke("scenario", "show", "quickstart").stdout
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace('shape = "constant"', 'shape = "sneaky"'))
    refused = invoke("scenario", "check", mine)
    assert refused.exit_code == 2
    line = next(n for n, row in enumerate(mine.read_text().splitlines(), 1) if "sneaky" in row)
    assert f"mine.toml:{line}" in refused.stderr
    assert "pulsed" in refused.stderr


def test_the_same_seed_records_the_same_run(tmp_path: Path) -> None:
    digests = []
    for name in ("one", "two"):
        args = ("simulate", "quickstart", "--seed", "5", "--rounds", "20", "--json")
        target = ("--out", tmp_path / name, "--truth", tmp_path / f"{name}.json")
        done = invoke(*args, "--set", "model.warm_up=0", *target)
        assert done.exit_code == 0, done.stderr
        assert json.loads(done.stdout)["rounds"] == 20
        head = invoke("rebuild", tmp_path / name, "--round", "head", "--json")
        digests.append(json.loads(head.stdout)["digest"])
    assert digests[0] == digests[1]


def test_simulate_tells_what_it_did(tmp_path: Path) -> None:
    args = ("simulate", "quickstart", "--seed", "5", "--rounds", "10", "--fraction", "0")
    target = ("--out", tmp_path / "case", "--truth", tmp_path / "truth.json")
    shown = invoke(*args, "--set", "model.warm_up=0", *target).stdout
    assert "poisoned updates    0" in shown
    assert json.loads((tmp_path / "truth.json").read_bytes())["onset"] is None


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A shortened demo; `make demo` runs the whole one."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    run_demo(folder, 1, rounds=1_000, step=lambda said: None)
    return folder


def test_the_demo_leaves_case_truth_answers_and_one_picture(demonstrated: Path) -> None:
    document = json.loads((demonstrated / "demo.json").read_bytes())
    for path in document["files"].values():
        assert Path(path).exists(), path
    assert document["verify"]["ok"]
    assert [one["matches"] for one in document["rebuilt"]] == [True] * 3
    assert document["simulated"]["rounds"] == 1_000
    assert document["incident"] == {"fraction": 0.001, "rounds": 100_000}
    assert (demonstrated / "case" / "case.json").exists()


def test_the_demo_s_story_stands_beside_the_incident(demonstrated: Path) -> None:
    story = tell(json.loads((demonstrated / "demo.json").read_bytes()))
    assert "0.1% of the devices over 100,000 rounds" in story
    assert "10 times the devices in 1,000 rounds, 100 times faster" in story
    assert "norm test" in story
    assert "roundlog bisect" in story


def test_the_demo_writes_over_nothing(demonstrated: Path) -> None:
    with pytest.raises(DemoError, match="holds something already"):
        run_demo(demonstrated, 1)


def test_demos_without_a_place_find_the_next_free_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from api.lab import demo

    monkeypatch.chdir(tmp_path)
    assert [demo._free(None).name for _ in range(3)] == [
        "roundlog-demo",
        "roundlog-demo-2",
        "roundlog-demo-3",
    ]


CHART = Chart(
    title="When?",
    subtitle="a test",
    first=0,
    asr=[0.0] * 50 + [0.5] * 50,
    drift=[(0, 0.0), (50, 1.0), (99, 2.0)],
    crossings={0.1: 50, 0.5: 50},
    zones={0.5: (40, 60)},
    levels=(0.1, 0.5, 0.9),
    searched=17,
    onset=20,
)


def test_the_picture_is_drawn_as_png_and_searchable_svg(tmp_path: Path) -> None:
    files = draw(CHART, tmp_path / "picture")
    assert set(files) == {"png", "svg"}
    with Image.open(files["png"]) as image:
        assert image.width >= 1_200
    svg = files["svg"].read_text()
    ElementTree.fromstring(svg)
    for said in ("When?", "50% from model 50 on", "ground truth", "asking only 17 models"):
        assert said in svg


def test_the_same_numbers_make_the_same_svg(tmp_path: Path) -> None:
    one, two = (draw(CHART, tmp_path / name)["svg"].read_bytes() for name in ("a", "b"))
    assert one == two


def test_a_picture_without_truth_crossings_or_drift_is_still_drawn(tmp_path: Path) -> None:
    empty = Chart("t", "s", 0, [0.0, 0.0], [], {}, {}, (0.5,))
    assert "ground truth" not in draw(empty, tmp_path / "p")["svg"].read_text()
