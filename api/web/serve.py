"""How does one process own a case, ingest without end, and answer? And how does it stop?

It binds first, so that `owner.json` names an address that works. On SIGTERM or SIGINT it takes no
new request, lets running ones finish, drains ingest's batch, and exits 0, all within five seconds.
"""

import contextlib
import logging
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from types import FrameType
from typing import Any

import uvicorn

from api.outbox.channel import Channel
from api.outbox.outbox import Outbox
from api.records import Records
from api.web.app import make_app
from api.web.jobs import Jobs
from api.web.security import Guard, ServeError, is_address
from api.web.state import Ingest, Ingesting, ServerState
from ingest.service import ingest_case
from ingest.store import Store
from ingest.summary import IngestSummary
from roundlog.case import Case

logger = logging.getLogger(__name__)

# Together below the five seconds that a stop may take; container runtimes kill after ten.
# Answers in flight are documents of milliseconds. Ingest's batch is capped at 50 ms, and the rest
# of its share is one DuckDB checkpoint. A job is cancelled when it next reports progress, and the
# watch ends behind the block of rounds that it reads. A letter on its way is left behind; its
# channel is asked to end first and waited for last.
REQUESTS_S = 2
INGEST_S = 1.5
JOBS_S = 0.5
WATCH_S = 0.5
OUTBOX_S = 0.25


def serve_case(
    case: Case,
    guard: Guard,
    *,
    port: int,
    source: str | None = None,
    lab: bool = False,
    erase: bool = False,
    watch: bool = True,
    channels: Sequence[Channel] = (),
    reached_at: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> bool:
    """Owns the case and serves it until SIGTERM or SIGINT.

    Args:
        port: 0 takes a free one.
        source: `kafka://HOST:PORT/TOPIC` to ingest from, besides the case's own log.
        lab: Also replay runs under other settings for whoever hands in their truth.
        erase: Also erase words for whoever asks.
        watch: Whether runs are watched as they are ingested.
        channels: By which people are told of alarms.
        reached_at: Where they reach the server, for the links in what they are told.
        ready: Called with the address, once requests are answered.

    Returns:
        Whether every thread had ended within the time that a stop may take.

    Raises:
        ServeError: The address cannot be bound, or would be reachable without a token.
        CaseBusyError: Another process owns the case.
        LogError: What a channel has told before cannot be read.
    """
    guard.check_bind()
    with contextlib.closing(bind(guard.host, port)) as listener:
        address = address_of(listener, guard.host)
        ingest = from_log(case, source)

        def outbox(records: Records) -> Outbox:
            return Outbox(records, channels, reached_at or address)

        with (
            case.own(address),
            running(case, guard, ingest, lab=lab, erase=erase, watch=watch, outbox=outbox) as state,
        ):
            config = uvicorn.Config(
                make_app(state),
                log_level="warning",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=REQUESTS_S,
                timeout_keep_alive=30,
                lifespan="off",
            )
            server = _Server(config, state, lambda: ready(address) if ready else None)
            server.run(sockets=[listener])
    return state.drained


@contextlib.contextmanager
def running(
    case: Case,
    guard: Guard,
    ingest: Callable[[Store], Ingest],
    *,
    lab: bool = False,
    erase: bool = False,
    watch: bool = True,
    outbox: Callable[[Records], Outbox] = Outbox,
) -> Iterator[ServerState]:
    """A server's state with its threads at work; the caller owns the case."""
    store = Store(case)
    records = Records(case, store, followed=True, may_erase=erase)
    state = ServerState(records, Jobs(records), guard, Ingesting(ingest(store)))
    if lab:
        state.lab = Jobs(records, most=1)
    state.outbox = outbox(records)
    state.ingesting.start()
    state.outbox.start()
    if watch:
        state.watching.start()
    try:
        yield state
    finally:
        records.stopping.set()
        state.outbox.stop(0)
        # What it says is seen through ingest, so the watch ends first.
        watched = state.watching.stop(WATCH_S)
        drained = state.ingesting.stop(INGEST_S) and watched
        end = time.monotonic() + JOBS_S
        idle = [lane.close(max(0.0, end - time.monotonic())) for lane in state.lanes]
        state.drained = state.outbox.stop(OUTBOX_S) and drained and all(idle)
        records.log.close()
        if state.drained:
            store.close()
        else:
            # What was committed is durable; the next process reads on from the watermark.
            logger.warning("ended while work was going on; nothing that was committed is lost")


def from_log(case: Case, source: str | None) -> Callable[[Store], Ingest]:
    """Ingest that follows the case's own log, and Kafka where it is named."""

    def make(store: Store) -> Ingest:
        def ingest(
            progress: Callable[[IngestSummary], None], stop: threading.Event
        ) -> IngestSummary:
            options: dict[str, Any] = {} if source is None else {"source": source}
            return ingest_case(
                case, store=store, until_end=False, progress=progress, stop=stop, **options
            )

        return ingest

    return make


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        ServeError: The address is taken, or not ours.
    """
    family = socket.AF_INET6 if is_address(host) and ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        said = getattr(error, "strerror", None) or error
        raise ServeError(
            f"cannot listen on {host}:{port}: {said}. --port 0 takes a free port."
        ) from error
    return listener


def address_of(listener: socket.socket, host: str) -> str:
    """Where people on this machine reach the socket."""
    port = listener.getsockname()[1]
    name = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, host)
    name = f"[{name}]" if ":" in name and not name.startswith("[") else name
    return f"http://{name}:{port}"


class _Server(uvicorn.Server):
    """uvicorn that tells when it is ready, and ends with 0 when it is asked to end."""

    def __init__(
        self, config: uvicorn.Config, state: ServerState, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._state, self._ready = state, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn's own raises the signal again when it has stopped, which ends the process with
        # the signal's code; supervisors take that for a crash.
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self._asked_to_stop)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _asked_to_stop(self, number: int, frame: FrameType | None) -> None:
        print("stopping: draining ingest and open requests", file=sys.stderr)
        # Long answers look at this, and so do requests that wait for one.
        self._state.records.stopping.set()
        self.should_exit = True
