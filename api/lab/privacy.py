"""What does a scenario's mechanism promise a device? Its numbers, handed to the accountant.

Nothing is simulated. Without noise every epsilon is null, and the claim says so.
"""

import math
from collections.abc import Iterable

from api.documents import Document
from roundlog import __version__
from simulator.mechanisms import privacy_setting
from simulator.privacy.accounting import ACCOUNTANT, ADJACENCY, DELTA, Account, Setting, account
from simulator.scenario import load

MECHANISMS = {"central": "central_gaussian", "local": "local_gaussian", "none": "none"}


def account_scenario(
    source: str, overrides: Iterable[str] = (), *, delta: float = DELTA
) -> Document:
    """The promises of a scenario at a delta: per round, per run, and once memberships are known.

    Args:
        source: A shipped scenario's name, or the path of a TOML file.
        overrides: `KEY=VALUE`, as in `mechanisms.noise_multiplier=0.73`.
        delta: In (0, 1).

    Raises:
        ScenarioError: A field or value is not allowed.
        PrivacyError: delta is not between 0 and 1.
    """
    scenario = load(source, overrides)
    setting = privacy_setting(scenario)
    found = account(setting, delta)
    taken = found.participations
    return {
        "scenario": scenario.name,
        "claim": claim_of(setting, found),
        "epsilon_round": _finite(found.epsilon_round),
        "epsilon_round_sampled": _finite(found.epsilon_round_sampled),
        "epsilon_run": _finite(found.epsilon_run),
        "epsilon_run_membership_known": _finite(found.epsilon_run_membership_known),
        "epsilon_run_membership_known_high": _finite(found.epsilon_run_membership_known_high),
        "epsilon_run_against_server": _finite(found.epsilon_run_against_server),
        "membership_cost": found.membership_cost,
        "delta": delta,
        "mechanism": MECHANISMS[setting.noise],
        "noise_multiplier": 0.0 if setting.noise == "none" else setting.noise_multiplier,
        "noise_multiplier_seen": setting.seen_multiplier,
        "clip": scenario.mechanisms.clip,
        "cohort_size": setting.cohort_size,
        "devices": setting.devices,
        "sampling_rate": setting.sampling_rate,
        "rounds": setting.rounds,
        "participations": {
            "expected": taken.expected,
            "typical": taken.typical,
            "high": taken.high,
            "high_quantile": taken.quantile,
        },
        "adjacency": ADJACENCY,
        "accountant": {"name": ACCOUNTANT, "version": __version__},
    }


def claim_of(setting: Setting, found: Account) -> str:
    """What an operator may say, in one sentence."""
    if setting.noise == "none":
        return "no noise is added: nothing is promised"
    if math.isinf(found.epsilon_round):
        return "the noise is 0: nothing is promised"
    return (
        f"at delta {found.delta:g}, epsilon {found.epsilon_round:.3g} for each single round "
        f"without amplification by sampling; {found.epsilon_run:.3g} for the whole run of "
        f"{setting.rounds:,} rounds while nobody knows who took part"
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value
