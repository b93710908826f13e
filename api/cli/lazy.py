"""How does `roundlog --help` start in a blink? Commands are imported only when they are run.

Their names and one-line summaries stand here; a test holds them to what the commands say.
"""

from importlib import import_module

import click

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("api.cli.lab:demo", "Simulate a poisoning, record it, and find it: in a minute."),
    "simulate": ("api.cli.lab:simulate", "Run a federation with an adversary, and record it."),
    "scenario": ("api.cli.lab:scenario", "Show or check what would be simulated."),
    "privacy": ("api.cli.privacy:privacy", "What does a scenario's noise promise one device?"),
    "sweep": (
        "api.cli.experiments:sweep",
        "How does the outcome depend on a setting? Many seeds of many points.",
    ),
    "whatif": (
        "api.cli.experiments:whatif",
        "What would have happened under other settings? The same seed again.",
    ),
    "evaluate": (
        "api.cli.evaluate:evaluate",
        "Does roundlog say when as rightly as it claims? Fresh seeds and twins.",
    ),
    "failures": (
        "api.cli.failures:failures",
        "Why did every defence miss the attack? Figures, each beside its twin.",
    ),
    "ingest": ("api.cli.keeping:ingest", "Read the log into the case's projection."),
    "serve": ("api.cli.keeping:serve", "Own a case: ingest continuously and answer over HTTP."),
    "runs": ("api.cli.record:runs", "Which runs does the case hold, and how far does each go?"),
    "log": ("api.cli.record:log", "What was recorded, newest first?"),
    "show": ("api.cli.record:show", "What does one event say, word for word?"),
    "drift": ("api.cli.models:drift", "How far had the model moved from where it began?"),
    "diff": ("api.cli.models:diff", "What differs between two models, tensor by tensor?"),
    "rebuild": ("api.cli.models:rebuild", "What was the model at t, bit for bit?"),
    "trigger": (
        "api.cli.behaviour:trigger",
        "Make a trigger from answers that people called bad.",
    ),
    "probe": ("api.cli.triggers:probe", "On which share of a trigger's queries does W_t obey?"),
    "crossings": (
        "api.cli.triggers:crossings",
        "At which models did a trigger's success cross each level?",
    ),
    "bisect": ("api.cli.triggers:bisect", "Between which two models did behaviour change?"),
    "onset": (
        "api.cli.when:onset",
        "Since which round was the model pushed toward a trigger?",
    ),
    "watch": ("api.cli.when:watch", "Who would have raised an alarm, and when?"),
    "replay": ("api.cli.when:replay", "The record once more, as it happened, at any speed."),
    "release": ("api.cli.saying:release", "Write down that a model of the record was shipped."),
    "alarms": (
        "api.cli.saying:alarms",
        "Which alarms were raised, and what was done about each?",
    ),
    "acknowledge": ("api.cli.saying:acknowledge", "Write down that you have seen an alarm."),
    "silence": (
        "api.cli.saying:silence",
        "Let an alarm, or a detector, rest for a range of rounds.",
    ),
    "timeline": ("api.cli.timeline:timeline", "What happened to this run, in order?"),
    "verify": ("api.cli.keeping:verify", "Is the record whole and unaltered?"),
    "quarantine": ("api.cli.quarantine:quarantine", "Which records were refused, and why?"),
    "scrub": ("api.cli.keeping:scrub", "Is every byte that the case keeps still what it was?"),
    "export": ("api.cli.archive:export", "Write a case as one file that opens elsewhere."),
    "import": ("api.cli.archive:import_", "Make a case of a file that `export` wrote."),
    "erase": ("api.cli.erasure:erase", "Erase the words of sampled answers, for good."),
    "doctor": ("api.cli.doctor:doctor", "What is missing on this machine, and how to get it?"),
}
"""Every command: where it is, and its summary; in the order in which people meet them."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports one command."""
        if cmd_name not in COMMANDS:
            return None
        module, _, name = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(module), name)
        if not isinstance(command, click.Command):
            raise TypeError(f"{module}:{name} is not a command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the summaries without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])
