"""What can people say of a run, so that it becomes part of the record? Every act once.

As with questions, the command line, the HTTP routes and the Python client read one table. An act is
asked for with POST, and answers with the event that was written down. Whoever may open the case,
or reach its server, may act; under which name is theirs to say, and the record says `local`.
"""

import getpass

from api.parameters import AcknowledgeParams, EraseParams, ReleaseParams, SilenceParams
from api.questions import Question

_KEY = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"

ACTS: dict[str, Question] = {
    act.name: act
    for act in (
        Question(
            "release",
            "Write down that a model of the record was shipped.",
            ReleaseParams,
            "api.answers.alarms:release",
            python="forensics.releases.record_release",
            path="/runs/{run}/releases",
            example={
                "event": {
                    "id": "quickstart-0123456789ab/owner/0",
                    "type": "fl.model.released.v1",
                    "version": "1.4",
                    "round": 4000,
                    "digest": _KEY,
                    "channel": "stable",
                    "actor": "alice",
                    "authenticated": "local",
                }
            },
        ),
        Question(
            "acknowledge",
            "Write down that somebody has seen an alarm.",
            AcknowledgeParams,
            "api.answers.alarms:acknowledge",
            python="forensics.alarms.acknowledge",
            path="/alarms/{alarm}/acknowledgements",
            example={
                "event": {
                    "id": "quickstart-0123456789ab/owner/1",
                    "type": "fl.alarm.acknowledged.v1",
                    "alarm": _KEY,
                    "actor": "alice",
                    "authenticated": "local",
                    "note": "looking into it",
                    "said_at": 4200,
                }
            },
        ),
        Question(
            "silence",
            "Let an alarm, or all alarms of a detector, rest for a range of rounds.",
            SilenceParams,
            "api.answers.alarms:silence",
            python="forensics.alarms.silence_alarm",
            path="/silences",
            example={
                "event": {
                    "id": "quickstart-0123456789ab/owner/2",
                    "type": "fl.alarm.silenced.v1",
                    "alarm": _KEY,
                    "from_round": 4200,
                    "until_round": 4700,
                    "actor": "alice",
                    "authenticated": "local",
                    "note": "a new vocabulary ships this week",
                    "said_at": 4200,
                }
            },
        ),
        Question(
            "erase",
            "Erase the words of sampled answers, for good, and write down who did and why.",
            EraseParams,
            "api.answers.erasure:erase",
            python="ingest.erasure.erase_texts",
            path="/runs/{run}/erasures",
            example={
                "event": {
                    "id": "quickstart-0123456789ab/owner/3",
                    "type": "fl.texts.erased.v1",
                    "from_producer": "server",
                    "first_seq": 12,
                    "last_seq": 9000,
                    "texts": 4490,
                    "before_round": 4500,
                    "actor": "alice",
                    "authenticated": "local",
                    "note": "kept for 90 days",
                    "said_at": 5000,
                },
                "texts": 4490,
                "waiting": 0,
                "unreadable": 0,
            },
        ),
    )
}
"""Every act, by its name."""


def myself() -> str:
    """Who acts where nobody says: the user whom the operating system knows."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run under a number that has no name
        return "unknown"
