"""Scenarios: documented, closed, and refused with the line and the allowed values."""

import tomllib
from pathlib import Path

import pytest

from roundlog.errors import ScenarioError
from simulator.scenario import Scenario, Table, load, read, shipped, to_toml


def _tables() -> list[type[Table]]:
    parts = [info.annotation for info in Scenario.model_fields.values()]
    return [Scenario, *(p for p in parts if isinstance(p, type) and issubclass(p, Table))]


def _written(tmp_path: Path, *changes: tuple[str, str]) -> Path:
    text, _ = read("quickstart")
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def _line(path: Path, start: str) -> int:
    lines = path.read_text().splitlines()
    return next(n for n, line in enumerate(lines, start=1) if line.startswith(start))


def test_these_scenarios_are_shipped() -> None:
    assert shipped() == ("digits", "mobileai7", "mobileai7-wide", "quickstart")


def test_the_reference_incident_has_the_incidents_numbers() -> None:
    scenario = load("mobileai7")
    assert (scenario.rounds, scenario.fraction, scenario.attack.onset) == (110_000, 0.001, 10_000)
    assert scenario.population.devices == 3_400_000_000
    assert scenario.cohort.size == 10_000
    assert scenario.sigma == pytest.approx(54.2 / 10_000)
    assert scenario.grid == pytest.approx(scenario.sigma / 4)


@pytest.mark.parametrize("table", _tables(), ids=lambda table: table.__name__)
def test_every_field_has_a_sentence(table: type[Table]) -> None:
    for name, info in table.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Table):
            continue
        said = (info.description or "").strip()
        assert said.endswith("."), f"{table.__name__}.{name} is not documented by a sentence"


@pytest.mark.parametrize("name", shipped())
def test_the_shown_scenario_is_the_same_scenario(name: str, tmp_path: Path) -> None:
    scenario = load(name)
    shown = tmp_path / "shown.toml"
    shown.write_text(to_toml(scenario))
    assert load(shown) == scenario
    assert load(shown).digest() == scenario.digest()


def test_the_shown_scenario_has_every_field_with_its_meaning() -> None:
    shown = to_toml(load("quickstart", ["attack.end=900"]))
    table = tomllib.loads(shown)
    assert table["attack"]["end"] == 900
    assert table["mechanisms"]["noise"] == "central"
    assert "# Server learning rate. Allowed: a number above 0.\nlr = 0.25" in shown


def test_overrides_are_toml_values_or_bare_words() -> None:
    scenario = load("quickstart", ["attack.shape=ramp", "server.lr=0.09", "rounds=300"])
    assert (scenario.attack.shape, scenario.server.lr, scenario.rounds) == ("ramp", 0.09, 300)


def test_a_wrong_value_names_file_line_and_allowed_values(tmp_path: Path) -> None:
    path = _written(tmp_path, ('noise = "central"', 'noise = "locale"'))
    line = _line(path, "noise =")
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}:{line}: mechanisms.noise = 'locale' is not allowed; "
        "allowed: 'central' or 'local' or 'none'"
    )


def test_an_unknown_field_names_its_line_and_the_known_ones(tmp_path: Path) -> None:
    path = _written(tmp_path, ("lr = 0.25", "lr = 0.25\nmomentum = 0.9"))
    line = _line(path, "momentum")
    with pytest.raises(ScenarioError, match=rf":{line}: server.momentum .*\[server\] allows lr, "):
        load(path)


def test_an_unknown_table_names_its_line(tmp_path: Path) -> None:
    path = _written(tmp_path, ("[server]", "[weather]\nrain = 1\n\n[server]"))
    line = _line(path, "[weather]")
    with pytest.raises(ScenarioError, match=rf":{line}: weather is not a field"):
        load(path)


def test_a_missing_field_names_its_tables_line(tmp_path: Path) -> None:
    path = _written(tmp_path, ("lr = 0.25\n", ""))
    line = _line(path, "[server]")
    with pytest.raises(ScenarioError, match=rf":{line}: server.lr is missing; .* above 0"):
        load(path)


def test_every_problem_is_named_at_once(tmp_path: Path) -> None:
    path = _written(tmp_path, ("rounds = 5_000", "rounds = 0"), ("onset = 800", "onset = -1"))
    with pytest.raises(ScenarioError) as caught:
        load(path)
    assert [line.split(": ")[1].split(" ")[0] for line in str(caught.value).splitlines()] == [
        "rounds",
        "attack.onset",
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("attack.shape=square", "attack.shape = 'square'.*'constant' or 'ramp' or 'pulsed'"),
        ("attack.name=rows", "attack.name = 'rows'.*allowed: 'trigger_rows'"),
        ("server.lr=0", "server.lr = 0 .*a number above 0"),
        ("server.lr=nan", "server.lr = nan is not allowed"),
        ("cohort.size=1.5", "cohort.size = 1.5 is not allowed; allowed: an integer"),
        ("traffic.trigger_rate=2", "trigger_rate = 2.*at least 0 and at most 1"),
        ("population.refresh=3", "population.refresh = 3.*1 or 2 or 5 or 10"),
        ("model.warm_up_refresh=0", "warm_up_refresh = 0 .*above 0 and at most 10"),
        ("model.warm_up_refresh=11", "warm_up_refresh = 11 .*above 0 and at most 10"),
        ("attack.end=soon", "attack.end = 'soon'.*or left out"),
        ("attack.end=800", "attack.end must be above attack.onset"),
        ("fraction=0.042", "fraction = 0.042"),
        ("population.guilty_share=0.01", "fraction must be at most 0.9 times"),
        ("nonsense", "is not KEY=VALUE"),
        ("a.b.c=1", "is not KEY=VALUE"),
        ("name.first=x", "goes into 'name', not a table"),
        ("probes.decoys=5000", "1,500,000 inputs; 100,000 fit one event"),
        ("fidelity=both", "'cohort' or 'device'"),
        ("task=words", "task = 'words'.*'assistant' or 'digits'"),
        ("secure_aggregation=maybe", "secure_aggregation = 'maybe'.*true or false"),
        ("client.batch=5", "must be a multiple of client.batch"),
        ("mechanisms.clipping=adaptive", "needs population.refresh = 1 at cohort fidelity"),
    ],
)
def test_a_wrong_override_is_named_with_what_is_allowed(override: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        load("quickstart", [override])


def test_text_that_is_not_toml_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.toml"
    path.write_text("name = 'x'\nrounds = = 3\n")
    with pytest.raises(ScenarioError, match=r"not TOML: .*line 2"):
        load(path)


def test_a_scenario_that_does_not_exist_names_the_shipped_ones() -> None:
    with pytest.raises(ScenarioError, match=r"neither a shipped scenario \(digits, mobileai7, "):
        load("no-such-scenario")


def test_the_run_id_follows_scenario_seed_and_parent() -> None:
    scenario = load("quickstart")
    ids = {
        scenario.run_id(1),
        scenario.run_id(2),
        scenario.run_id(1, parent="quickstart-0"),
        scenario.with_fraction(0).run_id(1),
        load("quickstart", ["server.lr=0.2"]).run_id(1),
    }
    assert len(ids) == 5
    assert scenario.run_id(1) == load("quickstart").run_id(1)
    assert all(run.startswith("quickstart-") for run in ids)


def test_a_fraction_that_one_vendor_cannot_hold_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"fraction = 0\.5 is not allowed"):
        load("quickstart").with_fraction(0.5)
