"""Does `roundlog privacy` say per round and per run apart, and what knowing memberships costs?"""

import json
import subprocess
import sys
from typing import Any

import pytest
from doors import invoke

from api.lab.privacy import account_scenario

PROMISES = (
    "epsilon_round",
    "epsilon_round_sampled",
    "epsilon_run",
    "epsilon_run_membership_known",
    "epsilon_run_membership_known_high",
)


def ask(*words: str) -> dict[str, Any]:
    answered = invoke("privacy", *words, "--json")
    assert answered.exit_code == 0, answered.stderr
    document: dict[str, Any] = json.loads(answered.stdout)
    return document


def test_the_reference_scenario_promises_a_tenth_a_round_and_less_while_nobody_knows() -> None:
    document = ask("mobileai7")
    assert document["epsilon_round"] == pytest.approx(0.1, rel=0.001)
    assert document["epsilon_run"] < document["epsilon_round"]
    assert document["noise_multiplier"] == 54.2
    assert document["delta"] == 1e-10
    assert document["mechanism"] == "central_gaussian"
    assert document["sampling_rate"] == pytest.approx(1e4 / 3.4e9)
    assert document["rounds"] == 110_000
    assert document["participations"]["expected"] == pytest.approx(0.3235, rel=1e-3)
    assert document["membership_cost"] == pytest.approx(
        document["epsilon_run_membership_known"] / document["epsilon_run"]
    )
    assert "epsilon 0.1 for each single round" in document["claim"]
    assert {"clip", "adjacency", "accountant", "cohort_size", "devices"} <= set(document)


def test_the_table_says_what_each_epsilon_covers_and_what_knowing_costs() -> None:
    shown = invoke("privacy", "mobileai7").stdout
    document = ask("mobileai7")
    lines = shown.splitlines()
    one_round = next(line for line in lines if line.startswith("one round"))
    run = next(line for line in lines if line.startswith("whole run"))
    assert f"{document['epsilon_round']:.4g}" in one_round
    assert "known to be in it" in one_round
    assert f"{document['epsilon_run']:.4g}" in run
    assert "nobody knows who is in which round" in run
    assert "Knowing who took part raises the run's epsilon" in lines[-1]
    assert f"{document['membership_cost']:,.0f} times" in lines[-1]


@pytest.mark.parametrize(
    ("override", "cause"),
    [
        ("mechanisms.noise=none", "no noise is added"),
        ("mechanisms.noise_multiplier=0", "the noise is 0"),
    ],
)
def test_without_noise_every_epsilon_is_null_and_the_table_says_unbounded(
    override: str, cause: str
) -> None:
    document = ask("quickstart", "--set", override)
    assert [document[key] for key in PROMISES] == [None] * len(PROMISES)
    assert document["membership_cost"] is None
    assert document["claim"].startswith(cause)
    shown = invoke("privacy", "quickstart", "--set", override).stdout
    assert f"unbounded: {cause}" in shown


def test_local_noise_is_also_stated_against_a_server_that_sees_updates() -> None:
    local = ("--set", "mechanisms.noise=local", "--set", "mechanisms.noise_multiplier=1")
    words = ("quickstart", *local)
    document = ask(*words)
    assert document["noise_multiplier_seen"] == pytest.approx(100)
    assert document["epsilon_run_against_server"] > document["epsilon_run_membership_known"]
    assert "the server sees each update" in invoke("privacy", *words).stdout


def test_a_smaller_delta_costs_a_larger_epsilon() -> None:
    assert ask("mobileai7", "--delta", "1e-12")["epsilon_run"] > ask("mobileai7")["epsilon_run"]


@pytest.mark.parametrize("delta", ["0", "1", "-1"])
def test_a_delta_that_promises_nothing_or_too_much_is_a_usage_error(delta: str) -> None:
    refused = invoke("privacy", "mobileai7", "--delta", delta)
    assert refused.exit_code == 2
    assert "0<x<1" in refused.stderr


def test_an_unknown_scenario_is_refused() -> None:
    assert invoke("privacy", "no-such-scenario").exit_code == 2


def test_function_and_command_give_the_same_document() -> None:
    assert account_scenario("mobileai7") == ask("mobileai7")


def test_help_loads_no_accountant() -> None:
    code = (
        "import sys; from click.testing import CliRunner; from api.cli.main import main; "
        "result = CliRunner().invoke(main, ['privacy', '--help']); "
        "heavy = ('scipy', 'dp_accounting', 'torch', 'simulator'); "
        "print(result.exit_code, [name for name in heavy if name in sys.modules])"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert loaded.stdout.split(maxsplit=1) == ["0", "[]\n"], loaded.stderr
