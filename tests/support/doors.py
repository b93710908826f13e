"""What do the tests of the doors share? A small poisoned run, and a server over it."""

import contextlib
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from click.testing import CliRunner, Result

from api.cli.main import main
from api.web.app import make_app
from api.web.security import Guard
from api.web.serve import address_of, bind, from_log, running
from api.web.state import ServerState
from roundlog.case import Case

ROUNDS = 300

LOUD = (
    "attack.onset=50",
    "audits.every=50",
    "audits.items=3",
    "model.warm_up=300",
    "probes.decoys=20",
)
"""A loud attack that begins early, so that 10 % falls within three hundred rounds."""

ROUNDLOG = Path(sys.executable).with_name("roundlog")


@dataclass(frozen=True)
class Recorded:
    """A case that holds one run, and the truth about it."""

    case: Path
    truth: Path
    run: str


@dataclass(frozen=True)
class Served:
    """A case that is served on a port of its own."""

    url: str
    state: ServerState
    recorded: Recorded
    http: httpx.Client


def invoke(*args: object) -> Result:
    """Runs the command line in this process."""
    return CliRunner().invoke(main, [str(arg) for arg in args])


class Process:
    """A real `roundlog serve`, in a process of its own."""

    def __init__(self, case: Path, *options: str) -> None:
        self.began = time.monotonic()
        self.popen = subprocess.Popen(
            [ROUNDLOG, "serve", case, "--port", "0", *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        found = re.search(r"http://[^\s\"]+", line)
        assert found, f"no address: {line!r} {self.stop()}"
        self.url = found[0]

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float, str]:
        """Exit code, seconds it took, and what it said on stderr."""
        began = time.monotonic()
        self.popen.send_signal(number)
        _, said = self.popen.communicate(timeout=20)
        return self.popen.returncode, time.monotonic() - began, said


@contextlib.contextmanager
def serving(
    recorded: Recorded,
    guard: Guard | None = None,
    *,
    rounds: int = ROUNDS,
    lab: bool = False,
    watch: bool = False,
) -> Iterator[Served]:
    """A server over a case of so many rounds, in a thread of this process, all of it ingested.

    Without a watch the record stays as it is, so that two doors can be compared.
    """
    guard = guard or Guard()
    case = Case(recorded.case)
    with contextlib.closing(bind("127.0.0.1", 0)) as listener:
        url = address_of(listener, "127.0.0.1")
        ingest = from_log(case, None)
        with case.own(url), running(case, guard, ingest, lab=lab, watch=watch) as state:
            config = uvicorn.Config(make_app(state), log_level="critical", lifespan="off")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
            thread.start()
            try:
                wait_for(lambda: server.started, "the server to start")
                wait_for(lambda: _end(state, recorded) == rounds - 1, "ingest to reach the end")
                with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
                    yield Served(url, state, recorded, client)
            finally:
                server.should_exit = True
                thread.join(10)


def wait_for(done: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Waits until something is so.

    Raises:
        AssertionError: It was not, in that time.
    """
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.02)


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem of a refused request, after its shape was checked."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    expected = {"type", "title", "status", "detail", "hint", "exit_code", "instance"}
    assert set(document) == expected
    assert document["status"] == status
    assert document["type"].startswith("urn:roundlog:problem:")
    assert document["detail"]
    return document


def _end(state: ServerState, recorded: Recorded) -> int | None:
    last: int | None = state.records.rows("run_end", run=recorded.run)[0][1]
    return last
