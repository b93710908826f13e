"""Do the figures of what failed measure what they say, beside the twin, and again from a cache?"""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from doors import invoke
from PIL import Image

from api.lab.failures.drawing import draw_failure
from api.lab.failures.norm_test import measure_norm_test
from api.lab.failures.normality import measure_normality
from api.lab.failures.page import FIGURES, page_text
from api.lab.failures.privacy import measure_privacy
from api.lab.failures.runs import Keeper, recorded
from api.lab.failures.secure_aggregation import SETTINGS, measure_secure_aggregation, watch
from api.parameters import ParameterError
from forensics.rebuild import CaseModels
from simulator.scenario import load
from simulator.secure_aggregation import plain_sum

DOCS = Path(__file__).resolve().parents[2] / "docs" / "explanation"

SMALL = (
    "model.warm_up=60",
    "audits.items=0",
    "population.archetypes=64",
    "probes.clean=300",
    "probes.pool=300",
    "probes.decoys=20",
    "probes.decoy_queries=20",
)
LOUD = (*SMALL, "attack.onset=60", "fraction=0.04")
ROUNDS = 120
DEVICES = (*SMALL, "cohort.size=48")


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where runs are kept for all tests of this module."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory, kept: Path) -> Path:
    """Every figure once, by its command."""
    folder = tmp_path_factory.mktemp("results")
    common = ("--scenario", "quickstart", "--out", folder, "--json")
    loud = [word for text in LOUD for word in ("--set", text)]
    devices = [word for text in DEVICES for word in ("--set", text)]
    rounds = ("--rounds", ROUNDS)
    for words in (
        ("norm-test", "--seeds", 2, *common, *loud, *rounds, "--cache", kept),
        ("privacy", "--seeds", 1, *common, *loud, *rounds, "--cache", kept / "sweep"),
        ("secure-aggregation", "--seeds", 1, *common, *devices, "--rounds", 3),
        ("normality", "--seeds", 2, *common, *loud, *rounds, "--cache", kept, "--queries", 5_000),
    ):
        done = invoke("failures", *words)
        assert done.exit_code == 0, done.stderr
        document = json.loads(done.stdout)
        assert sorted(document["files"]) == ["json", "png", "svg"]
    return folder


def read(folder: Path, name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / f"{name}.json").read_bytes())
    return document


def test_the_norm_test_judges_the_attacked_rounds_and_the_twin_s_same_ones(results: Path) -> None:
    document = read(results, "norm-test")
    # The filter learns for fifty rounds, and the attack begins after that.
    assert document["attacked_rounds"] == 2 * (ROUNDS - 60)
    for row in document["rows"]:
        assert row["power"] * 60 == pytest.approx(round(row["power"] * 60))
        assert 0 <= row["area"] <= 1
    pooled = document["pooled"]
    assert pooled["power"]["n"] == pooled["false_alarms"]["n"] == 120
    assert pooled["power"]["k"] - pooled["only_attacked"] == (
        pooled["false_alarms"]["k"] - pooled["only_twin"]
    )
    assert sum(document["norms"]["attacked"]["counts"]) == 120
    assert document["command"].startswith("roundlog failures norm-test --scenario quickstart")


def test_what_a_run_recorded_is_kept_and_not_made_again(
    results: Path, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("simulated again")

    monkeypatch.setattr("api.lab.failures.runs.simulate", never)
    again = measure_norm_test("quickstart", [1, 2], kept, overrides=LOUD, rounds=ROUNDS)
    before = read(results, "norm-test")
    assert json.loads(json.dumps(again["rows"])) == before["rows"]


def test_the_kept_model_is_the_recorded_last_one(kept: Path) -> None:
    scenario = load("quickstart", LOUD)
    facts = Keeper(kept).facts(scenario, 1, 30, "short")
    with recorded(scenario, 1, 30) as (simulated, records):
        models = CaseModels(records.case, records.store, simulated.run)
        assert models.last == 30
        assert facts.digest == models.recorded_digest(30)
        assert facts.last == models.model(30).tobytes()
    assert np.isnan(facts.scores).all(), "the filter learns for fifty rounds"
    assert facts.norms.shape == (30,)


def test_an_attack_that_never_begins_has_no_power_to_measure(kept: Path) -> None:
    with pytest.raises(ParameterError, match="no round is attacked"):
        measure_norm_test("quickstart", [1], kept, overrides=LOUD, rounds=50)
    with pytest.raises(ParameterError, match="has 5,000 rounds"):
        measure_norm_test("quickstart", [1], kept, rounds=5_001)


def test_each_level_of_noise_stands_beside_its_twin_and_its_epsilon(results: Path) -> None:
    levels = read(results, "privacy")["levels"]
    assert [level["noise_multiplier"] for level in levels] == [54.2, 542.0, 5420.0]
    assert levels[0]["epsilon_round"] == pytest.approx(0.1, rel=0.001)
    epsilons = [level["epsilon_round"] for level in levels]
    assert epsilons == sorted(epsilons, reverse=True)
    for level in levels:
        assert level["attacked"]["models"] == level["twin"]["models"]
        assert level["attacked"]["rows"][0]["run"] != level["twin"]["rows"][0]["run"]
    accuracies = [level["twin"]["ends"]["accuracy"]["median"] for level in levels]
    assert accuracies[0] > 2 * accuracies[2], "a hundred times the noise ruins the model"


def sweep_document(folder: Path, results: Path) -> Path:
    """What `roundlog sweep` would have written of the same points, with one more among them."""
    document = read(results, "privacy")
    rows = []
    for level in document["levels"]:
        for side in ("attacked", "twin"):
            found = level[side]
            for row in found["rows"]:
                point = {"mechanisms.noise_multiplier": level["noise_multiplier"]}
                point |= {"fraction": 0.0} if side == "twin" else {}
                sampled = {name: found[name]["median"] for name in ("asr", "accuracy")}
                sampled["models"] = found["models"]
                more = {"twin": side == "twin", "highest": 1.0, "floor": None, "path": sampled}
                rows.append({**row, "point": point, **more})
    rows.append({**rows[0], "point": {"cohort.size": 5}, "asr": 0.123})
    written = {"scenario": document["scenario"], "rows": rows, "seeds": [1], "over": {}}
    path = folder / "sweep.json"
    path.write_text(json.dumps(written))
    return path


def test_a_sweep_s_document_gives_the_same_levels_and_its_other_points_are_passed_over(
    results: Path, tmp_path: Path
) -> None:
    path = sweep_document(tmp_path, results)
    again = measure_privacy("quickstart", [9], tmp_path, overrides=LOUD, sweep=path)
    assert again["seeds"] == [1]
    for one, other in zip(again["levels"], read(results, "privacy")["levels"], strict=True):
        assert one["attacked"]["asr"]["median"] == other["attacked"]["asr"]["median"]
        assert one["twin"]["ends"]["accuracy"] == other["twin"]["ends"]["accuracy"]


def test_a_sweep_of_another_scenario_or_without_a_level_is_refused(
    results: Path, tmp_path: Path
) -> None:
    path = sweep_document(tmp_path, results)
    with pytest.raises(ParameterError, match=r"differs from this one in .*server"):
        measure_privacy("quickstart", [1], tmp_path, overrides=[*LOUD, "server.lr=1"], sweep=path)
    # Devices one by one are of no use at cohort fidelity, so their settings make no difference.
    other = [*LOUD, "device.dropout=0.5"]
    assert measure_privacy("quickstart", [1], tmp_path, overrides=other, sweep=path)["levels"]
    document = json.loads(path.read_bytes())
    document["rows"] = [row for row in document["rows"] if 542.0 not in row["point"].values()]
    path.write_text(json.dumps(document))
    with pytest.raises(ParameterError, match=r"no attacked point with .* = 542"):
        measure_privacy("quickstart", [1], tmp_path, overrides=LOUD, sweep=path)
    path.write_text("[]")
    with pytest.raises(ParameterError, match="not what `roundlog sweep --json` writes"):
        measure_privacy("quickstart", [1], tmp_path, overrides=LOUD, sweep=path)


def test_secure_aggregation_changes_no_bit_and_hides_the_attackers(results: Path) -> None:
    document = read(results, "secure-aggregation")
    row = document["rows"][0]
    for side in ("attacked", "twin"):
        assert (row[side]["equal"], row[side]["rounds"]) == (3, 3)
        assert row[side]["first_difference"] is None
        assert row[side]["runs"]["with"] != row[side]["runs"]["without"]
    assert row["attacked"]["last_digest"] != row["twin"]["last_digest"], "the poison is in the sum"
    view = row["view"]
    assert view["area_plain"] == 1.0
    assert view["area_masked"] == pytest.approx(0.5, abs=0.05)
    assert max(view["p"]["plain"]) < 1e-9
    assert view["evenness"] > 1e-4


def test_the_server_s_view_sums_to_what_the_devices_sent() -> None:
    view = watch(load("quickstart", [*SETTINGS, *DEVICES]), 4)
    assert view.malicious.any()
    assert not view.malicious.all()
    np.testing.assert_array_equal(view.total, plain_sum(view.sent))
    assert (view.received != view.sent).mean() > 0.99
    # A poisoned update moves the rows of the trigger's words and nothing else.
    moved = np.flatnonzero(view.sent[view.malicious].any(axis=0))
    assert set(moved) <= set(view.elements.tolist())


def test_a_view_without_devices_is_refused() -> None:
    with pytest.raises(ParameterError, match="needs fidelity=device"):
        measure_secure_aggregation("quickstart", [1], overrides=["fidelity=cohort"])
    with pytest.raises(ParameterError, match="leave them as they are"):
        measure_secure_aggregation("quickstart", [1], overrides=["device.dropout=0.1"])


def test_normality_is_measured_on_three_models_of_each_seed(results: Path) -> None:
    document = read(results, "normality")
    for row in document["rows"]:
        models = row["models"]
        assert len({models[name]["digest"] for name in ("attacked", "twin", "other")}) == 3
        assert row["attacked"]["n"] == row["control"]["n"] == 5_000
        expected = row["attacked"]["share"] - row["control"]["share"]
        assert row["excess"]["value"] == pytest.approx(expected)
        assert row["excess"]["low"] < expected < row["excess"]["high"]
        assert row["trigger"]["differs"]["share"] > row["attacked"]["share"]
    counts = [row["attacked"]["k"] for row in document["rows"]]
    assert document["pooled"]["attacked"]["k"] == sum(counts)
    assert document["pooled"]["attacked"]["n"] == 10_000


def test_normality_of_no_attack_is_refused(kept: Path) -> None:
    with pytest.raises(ParameterError, match="there is no attack"):
        measure_normality("quickstart", [1], kept, overrides=["fraction=0"])


@pytest.mark.parametrize("name", FIGURES)
def test_each_picture_has_its_size_and_its_words(results: Path, name: str) -> None:
    with Image.open(results / f"{name}.png") as picture:
        assert picture.size[0] == 1536
        assert len(np.unique(np.asarray(picture.convert("L").resize((96, 54))))) > 20
    svg = ElementTree.parse(results / f"{name}.svg").getroot()
    words = " ".join(text for text in svg.itertext())
    assert "quickstart" in words
    assert {"norm-test": "power", "privacy": "epsilon", "secure-aggregation": "server",
            "normality": "control"}[name] in words  # fmt: skip


def test_the_same_document_draws_the_same_picture(results: Path, tmp_path: Path) -> None:
    document = read(results, "norm-test")
    drawn = draw_failure(document, tmp_path)
    assert Path(drawn["svg"]).read_bytes() == (results / "norm-test.svg").read_bytes()


def test_the_page_holds_every_figure_its_command_and_its_numbers(
    results: Path, tmp_path: Path
) -> None:
    page = tmp_path / "docs" / "why.md"
    done = invoke("failures", "page", results, "--out", page)
    assert done.exit_code == 0, done.stderr
    text = page.read_text()
    assert "do not edit" in text
    told = json.loads(invoke("failures", "page", results, "--out", page, "--json").stdout)
    assert told == {"markdown": text, "file": str(page)}
    for name in FIGURES:
        document = read(results, name)
        assert document["command"] in text
        assert f"{name}.png)" in text
    power = read(results, "norm-test")["pooled"]["power"]
    assert f"{power['k']:,} of {power['n']:,}" in text
    assert f"{read(results, 'normality')['pooled']['attacked']['share']:.3%}" in text
    # The pictures are linked from where the page is.
    linked = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line[:2] == "!["]
    assert len(linked) == len(FIGURES)
    assert all((page.parent / link).exists() for link in linked)


def test_a_page_of_what_was_measured_so_far_leaves_the_rest_out(
    results: Path, tmp_path: Path
) -> None:
    (tmp_path / "norm-test.json").write_bytes((results / "norm-test.json").read_bytes())
    text = page_text(tmp_path, tmp_path)
    assert "A test on the aggregate's norm" in text
    assert "Normal on ordinary queries" not in text
    (tmp_path / "privacy.json").write_text('{"figure": "norm-test"}')
    with pytest.raises(ParameterError, match=r"privacy\.json is not what"):
        page_text(tmp_path, tmp_path)


def test_the_page_in_our_docs_is_what_its_results_say() -> None:
    written = (DOCS / "why-everything-failed.md").read_text()
    assert written == page_text(DOCS / "failures", DOCS), (
        "make it again: roundlog failures page docs/explanation/failures "
        "--out docs/explanation/why-everything-failed.md"
    )


def test_a_page_of_nothing_says_how_to_make_a_result(tmp_path: Path) -> None:
    asked = invoke("failures", "page", tmp_path)
    assert asked.exit_code != 0
    assert "roundlog failures norm-test --out" in asked.stderr


def test_the_tables_for_people_say_the_same_numbers(results: Path, kept: Path) -> None:
    loud = [word for text in LOUD for word in ("--set", text)]
    words = ("--scenario", "quickstart", "--seeds", 2, *loud, "--rounds", ROUNDS)
    shown = invoke("failures", "norm-test", *words, "--cache", kept, "--out", kept / "out").stdout
    power = read(results, "norm-test")["pooled"]["power"]["share"]
    assert f"{power:.3%}" in shown
    assert str(kept / "out" / "norm-test.png") in shown
