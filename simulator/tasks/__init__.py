"""What is learned, and what does a trigger look like in it?"""

from simulator.randomness import Randomness
from simulator.scenario import Scenario
from simulator.tasks.assistant import AssistantTask
from simulator.tasks.digits import DigitsTask
from simulator.tasks.port import (
    CleanSet,
    Float32s,
    Floats,
    Ints,
    Pattern,
    Task,
    scores_asr,
)


def make_task(scenario: Scenario, randomness: Randomness) -> Task:
    """The task that a scenario names, for one seed."""
    if scenario.task == "digits":
        return DigitsTask(scenario.digits, randomness)
    return AssistantTask(scenario.assistant, randomness)


__all__ = [
    "AssistantTask",
    "CleanSet",
    "DigitsTask",
    "Float32s",
    "Floats",
    "Ints",
    "Pattern",
    "Task",
    "make_task",
    "scores_asr",
]
