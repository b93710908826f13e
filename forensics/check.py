"""Is one rebuilt model good or bad, by a command of the person who asks?

Git's contract for `git bisect run`: exit 0 is good, 1 to 127 is bad except 125, which means that
this model cannot be tested; anything else, or a signal, ends the bisection. A shell says 126 or
127 for a command that it cannot run, so at the first model asked, which should be good, these end
the bisection too, as in git.

The command sees a safetensors file and nothing else, so this works for models whose architecture
we do not know. It runs with the rights of the person who asks: no door may offer it to others.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

from forensics.rebuild import CaseModels
from roundlog.errors import QuestionError

MODEL = "{model}"
"""Stands in the command for the path of the rebuilt model."""

GOOD, BAD, SKIP = "good", "bad", "skip"

SKIP_CODE = 125
HIGHEST_BAD = 127
CANNOT_RUN = (126, 127)


class CheckError(QuestionError):
    """The command did not say good, bad or skip."""


class Check:
    """Runs a command on rebuilt models.

    Args:
        command: Program and arguments, one of which holds `{model}`; no shell takes part.
        output: Where what the command prints goes: an open file or a descriptor; dropped by
            default, since the standard output of a bisection is its result.

    Raises:
        CheckError: No argument holds `{model}`.
    """

    def __init__(
        self, models: CaseModels, command: Sequence[str], output: IO[str] | int | None = None
    ) -> None:
        if not any(MODEL in part for part in command):
            raise CheckError(
                f"the command {' '.join(command) or '(empty)'!r} names no {MODEL}: write it where "
                f"the path of the rebuilt model belongs, as in -- ./check {MODEL}"
            )
        self.command = tuple(command)
        self._models = models
        self._output = subprocess.DEVNULL if output is None else output
        self._asked = 0

    def ask(self, t: int) -> tuple[str, int]:
        """The verdict on W_t, and the exit code that said so.

        Raises:
            CheckError: The command cannot be run, or ended in a way that is no verdict.
            DigestMismatchError: W_t cannot be rebuilt as recorded.
        """
        rebuilt = self._models.whole(t)
        with TemporaryDirectory(prefix="roundlog-check-") as folder:
            path = Path(folder) / f"model-{t}.safetensors"
            self._models.write(rebuilt, path)
            code = self._run([part.replace(MODEL, str(path)) for part in self.command])
        self._asked += 1
        if code == SKIP_CODE:
            return SKIP, code
        if code in CANNOT_RUN and self._asked == 1:
            raise CheckError(
                f"the check exits with {code} at model {t}, the first one asked, which should be "
                f"good: {self.command[0]!r}, or something that it calls, cannot be run"
            )
        if not 0 <= code <= HIGHEST_BAD:
            how = f"was ended by signal {-code}" if code < 0 else f"exited with {code}"
            raise CheckError(
                f"the check {how} at model {t}; 0 is good, 1 to {HIGHEST_BAD} bad, {SKIP_CODE} "
                f"skips a model, and anything else ends the bisection"
            )
        return (BAD if code else GOOD), code

    def _run(self, command: list[str]) -> int:
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                check=False,
            ).returncode
        except OSError as error:
            raise CheckError(
                f"the check {command[0]!r} cannot be run: {error.strerror}; give its path "
                f"(./check) and make it executable"
            ) from error
