"""How does a page or a script hear of events as they come? Server-sent events, with a cursor each.

Whoever was cut off asks again with `Last-Event-ID`, as browsers do by themselves, and gets what
came meanwhile. A reader that is slow holds one page here and slows nobody: the next page is read
only when it has taken this one.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from fastapi import FastAPI, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from api.answers.tail import PAGE, Cursor, begin, page, parse_cursor
from api.documents import Document, encode
from api.parameters import TailParams, read_params
from api.web.asking import query_of
from api.web.problems import ProblemError
from api.web.state import ServerState
from ingest.store import StoreError

LOOK_S = 0.2
"""Between two looks whether a batch was committed; the store is asked only when one was."""

BEAT_S = 15.0
"""A comment is sent at least so often, so that whoever listens knows that the line holds."""

MOST = 64
"""Readers at a time. Each costs a question a batch; more of them want a topic of their own."""


def add_tail(app: FastAPI, state: ServerState, prefix: str) -> None:
    """The route of one run's live tail."""
    readers: set[object] = set()

    @app.get(
        f"{prefix}/runs/{{run}}/tail",
        tags=["recording"],
        summary="Events as they are ingested: server-sent events, to be gone on with by "
        "Last-Event-ID.",
    )
    async def tail(run: str, request: Request) -> Response:
        params = read_params(TailParams, query_of(request), "tail")
        wanted = state.records.run(run)
        cursor = None
        if (given := request.headers.get("last-event-id")) is not None:
            cursor = parse_cursor(given)
            if cursor is None:
                raise ProblemError(
                    422,
                    "Last-Event-ID is not one that this route gave",
                    "leave it out to begin with what comes now",
                )
        if len(readers) >= MOST:
            raise ProblemError(
                503, f"{MOST} readers follow already", "try again later, or follow the topic"
            )
        stream = _stream(state, wanted, cursor, params.last, readers)
        return StreamingResponse(
            stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"}
        )


async def _stream(
    state: ServerState, run: str, cursor: Cursor | None, last: int, readers: set[object]
) -> AsyncIterator[bytes]:
    records, me = state.records, object()
    readers.add(me)
    try:
        if cursor is None:
            at = await run_in_threadpool(begin, records, run, last)
        elif cursor.birth == records.store.birth:
            at = cursor
        else:
            at = Cursor(records.store.birth, -1)
            yield b"event: restart\ndata: {}\n\n"
        # The cursor before anything has come: who is cut off now misses nothing either.
        yield b"id: %s\nevent: begin\ndata: {}\n\n" % str(at).encode()
        told = time.monotonic()
        while not records.stopping.is_set():
            seen = _committed(state)
            events: list[Document] = []
            with suppress(StoreError):  # it reopens; what it holds is still there afterwards
                events, at = await run_in_threadpool(page, records, run, at)
            for event in events:
                yield b"id: %s\nevent: recorded\ndata: %s\n\n" % (
                    event.pop("cursor").encode(),
                    encode(event),
                )
                told = time.monotonic()
            if len(events) == PAGE:
                continue
            while _committed(state) == seen and not records.stopping.is_set():
                if time.monotonic() - told > BEAT_S:
                    yield b": still here\n\n"
                    told = time.monotonic()
                await asyncio.sleep(LOOK_S)
    finally:
        readers.discard(me)


def _committed(state: ServerState) -> tuple[int, int]:
    """Differs whenever ingest has committed something."""
    summary = state.ingesting.summary
    return id(summary), summary.batches
