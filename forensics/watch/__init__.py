"""Would somebody have been told, and when? Detectors over every committed round, as they come.

For each trigger a direction is taken at the last keyframe, once every 256 rounds, so that what is
said of a round rests on earlier models only. Every step of the rounds that follow is projected on
it, and the series goes through all detectors. Two series need no trigger, the norm of a step and
its cosine with the step before: they are what servers watch today, kept as controls.

The same code runs live, a round at a time, and over the past: a watch's state depends on nothing
but the rounds that it has read, and goes on from wherever it was put away.
"""

from forensics.watch.plan import COSINE, NORM, Alarm, Plan, known_triggers
from forensics.watch.state import WatchState, load_state, save_state
from forensics.watch.watch import Watch

__all__ = [
    "COSINE",
    "NORM",
    "Alarm",
    "Plan",
    "Watch",
    "WatchState",
    "known_triggers",
    "load_state",
    "save_state",
]
