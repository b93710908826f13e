"""Where does every command begin and end? One group, one way to fail.

Exit codes: 0 ok, 1 error, 2 usage, 3 finding (with --fail-on), 4 integrity violation, 5 busy or
unreachable, 130 interrupted. An error is one sentence and a hint, never a traceback.
"""

import json
import os
import sys
from typing import Any

import click

from api.cli.lazy import LazyGroup
from roundlog import __version__
from roundlog.errors import RoundlogError

INTERRUPTED = 130

# What the distribution offers as an extra, by the first module that is missed without it.
EXTRAS = {
    "duckdb": "server",
    "fastapi": "server",
    "httpx": "server",
    "matplotlib": "server",
    "polars": "server",
    "psutil": "server",
    "pyarrow": "server",
    "safetensors": "server",
    "scipy": "server",
    "uvicorn": "server",
    "torch": "sim",
}


class Roundlog(LazyGroup):
    """The group that turns every error into one sentence and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Runs a command; see the module for what happens when it fails."""
        # Taken before parsing: a usage error must be JSON too where JSON was asked for.
        words = [*getattr(ctx, "_protected_args", ()), *ctx.args]
        as_json = "--json" in words[: words.index("--") if "--" in words else None]
        try:
            return super().invoke(ctx)
        except RoundlogError as error:
            _fail(type(error).__name__, str(error), error.hint, error.exit_code, as_json)
        except click.UsageError as error:
            if not as_json:
                raise
            _fail("UsageError", error.format_message(), None, error.exit_code, as_json)
        except (KeyboardInterrupt, click.Abort):
            click.echo("interrupted", err=True)
            ctx.exit(INTERRUPTED)
        except BrokenPipeError:
            # Whoever read our output has enough; Python would complain when it flushes stdout.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(0)
        except ModuleNotFoundError as error:
            extra = EXTRAS.get((error.name or "").partition(".")[0])
            if extra is None:
                raise
            hint = f"pip install 'roundlog[{extra}]', and `roundlog doctor` for the rest"
            _fail("MissingExtra", f"{error.name} is not installed", hint, 1, as_json)
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            _fail(type(error).__name__, f"{where}{error.strerror or error}", None, 1, as_json)
        except (click.exceptions.Exit, click.ClickException):
            raise
        except Exception as error:
            if "ROUNDLOG_DEBUG" in os.environ:
                raise
            hint = "ROUNDLOG_DEBUG=1 shows where; please report it"
            _fail(
                "Internal", f"an error of ours: {type(error).__name__}: {error}", hint, 1, as_json
            )
        return None


def _fail(kind: str, message: str, hint: str | None, code: int, as_json: bool) -> None:
    if as_json:
        error = {"type": kind, "message": message, "hint": hint, "exit_code": code}
        click.echo(json.dumps({"error": error}), err=True)
    else:
        # A message may name what a file or a model said.
        from roundlog.sanitize import for_terminal

        shown = "\n".join(for_terminal(line) for line in message.splitlines())
        click.echo(f"{click.style('error:', fg='red')} {shown}", err=True)
        if hint:
            click.echo(f"  hint: {hint}", err=True)
    raise click.exceptions.Exit(code)


@click.group(
    cls=Roundlog, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="roundlog")
@click.pass_context
def main(ctx: click.Context) -> None:
    """The flight recorder for federated learning.

    Record every round, rebuild any model, find the round it was poisoned.

    \b
      roundlog demo                    see the whole job in a minute
      roundlog VERB --help             what a command does, with an example
      roundlog doctor                  what is missing on this machine
    """
    if "NO_COLOR" in os.environ:
        ctx.color = False
