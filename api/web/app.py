"""Which routes are there? One for every question, and what only a server has: jobs and recording.

No page loads anything from elsewhere: the schema is at /openapi.json, without a viewer.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from api.acts import ACTS
from api.answers.triggers import store_trigger
from api.documents import encode
from api.parameters import DOCUMENTS, ParameterError
from api.questions import QUESTIONS, Question
from api.web.asking import accepted, answer, body_of, document, parse, query_of, result
from api.web.jobs import Job, Jobs
from api.web.metrics import exposition
from api.web.openapi import describe
from api.web.problems import ProblemError, problem_of, problem_response
from api.web.security import GuardMiddleware
from api.web.state import ServerState
from api.web.tail import add_tail
from roundlog import __version__
from roundlog.errors import RoundlogError

logger = logging.getLogger(__name__)

PREFIX = "/api/v1"

# Between two looks of an event stream at its job.
STREAM_S = 0.2

Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(state: ServerState) -> FastAPI:
    """The application over one server's state."""
    app = FastAPI(
        title="roundlog",
        version=__version__,
        summary="The flight recorder for federated learning.",
        docs_url=None,
        redoc_url=None,
    )
    app.state.server = state
    app.add_middleware(GuardMiddleware, guard=state.guard)
    _add_problems(app)
    _add_health(app, state)
    for question in QUESTIONS.values():
        _add_question(app, state, question)
    for act in ACTS.values():
        _add_act(app, state, act)
    _add_triggers(app, state)
    _add_jobs(app, state)
    _add_recording(app, state)
    add_tail(app, state, PREFIX)
    if state.lab is not None:
        _add_lab(app, state, state.lab)
    return app


def _add_problems(app: FastAPI) -> None:
    async def ours(request: Request, error: Exception) -> Response:
        problem = error if isinstance(error, ProblemError) else problem_of(_as_ours(error))
        return problem_response(problem, request)

    async def starlette_s(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        said = {404: "there is nothing here", 405: f"{request.method} is not taken here"}
        headers = getattr(error, "headers", None) or {}
        return problem_response(
            ProblemError(
                status,
                said.get(status, str(getattr(error, "detail", error))),
                headers=tuple(headers.items()),
            ),
            request,
        )

    async def fastapi_s(request: Request, error: Exception) -> Response:
        return problem_response(ProblemError(422, f"the request is not valid: {error}"), request)

    async def unexpected(request: Request, error: Exception) -> Response:
        return problem_response(
            ProblemError(500, "an error of ours; the server's log has it", "please report it"),
            request,
        )

    app.add_exception_handler(ProblemError, ours)
    app.add_exception_handler(RoundlogError, ours)
    app.add_exception_handler(HTTPException, starlette_s)
    app.add_exception_handler(RequestValidationError, fastapi_s)
    app.add_exception_handler(Exception, unexpected)


def _as_ours(error: Exception) -> RoundlogError:
    return error if isinstance(error, RoundlogError) else RoundlogError(str(error))


def _add_health(app: FastAPI, state: ServerState) -> None:
    @app.get("/livez", tags=["health"], summary="Does the process answer?")
    async def livez() -> PlainTextResponse:
        return PlainTextResponse("ok\n")

    @app.get("/readyz", tags=["health"], summary="Is the record open, and does ingest run?")
    async def readyz(request: Request) -> Response:
        if state.ingesting.running and not state.records.stopping.is_set():
            return PlainTextResponse("ok\n")
        why = state.ingesting.error or "it is ending, or has not begun"
        raise ProblemError(
            503, f"ingest does not run: {why}", "see the server's log", kind="ingest"
        )

    @app.get("/metrics", tags=["health"], summary="Counts for a monitor, as Prometheus reads them.")
    async def metrics() -> PlainTextResponse:
        said = await run_in_threadpool(exposition, state)
        return PlainTextResponse(said, media_type="text/plain; version=0.0.4")


def _add_question(app: FastAPI, state: ServerState, question: Question) -> None:
    lane = state.lane_for(question)

    async def get(request: Request) -> Response:
        values = {**query_of(request), **request.path_params}
        return await run_in_threadpool(answer, question, request, values, state.records, lane)

    async def post(request: Request) -> Response:
        body = await body_of(request)
        if not isinstance(body, dict):
            raise ParameterError("the body is an object of parameters")
        values = {**body, **request.path_params}
        return await run_in_threadpool(answer, question, request, values, state.records, lane)

    path = f"{PREFIX}{question.path}"
    app.add_api_route(
        path,
        get,
        methods=["GET"],
        name=question.name,
        summary=question.title,
        tags=["questions"],
        openapi_extra=describe(question),
    )
    for name in DOCUMENTS.keys() & question.params.model_fields:
        app.add_api_route(
            path,
            post,
            methods=["POST"],
            name=f"{question.name} of a {name} document",
            summary=f"{question.title} With {DOCUMENTS[name]}.",
            tags=["questions"],
            openapi_extra=describe(question, with_body=True),
        )


def _add_act(app: FastAPI, state: ServerState, act: Question) -> None:
    async def post(request: Request) -> Response:
        body = await body_of(request)
        if not isinstance(body, dict):
            raise ParameterError("the body is an object of parameters")
        params = parse(act, {**body, **request.path_params})
        return document(await run_in_threadpool(act.answer, state.records, params), status=201)

    app.add_api_route(
        f"{PREFIX}{act.path}",
        post,
        methods=["POST"],
        name=act.name,
        summary=act.title,
        tags=["acts"],
        status_code=201,
        openapi_extra=describe(act, with_body=True, is_act=True),
    )


def _add_triggers(app: FastAPI, state: ServerState) -> None:
    @app.post(f"{PREFIX}/triggers", tags=["triggers"], summary="Keep a trigger under its name.")
    async def keep(request: Request) -> Response:
        body = await body_of(request)
        stored = await run_in_threadpool(store_trigger, state.records.case, body)
        return document(stored, status=201)


def _add_jobs(app: FastAPI, state: ServerState) -> None:
    def found(job_id: str) -> Job:
        lane = state.lane_of(job_id)
        job = None if lane is None else lane.get(job_id)
        if job is None:
            raise ProblemError(404, f"there is no job {job_id[:64]!r}", "ask the question again")
        return job

    @app.get(f"{PREFIX}/jobs", tags=["jobs"], summary="Which jobs are known?")
    async def listed() -> Response:
        jobs = [job for lane in state.lanes for job in lane.listed()]
        return document({"jobs": [job.document() for job in jobs]})

    @app.post(f"{PREFIX}/jobs", tags=["jobs"], summary="Ask a question as a job.", status_code=202)
    async def submit(request: Request) -> Response:
        body = await body_of(request)
        name = body.get("question") if isinstance(body, dict) else None
        params = body.get("params", {}) if isinstance(body, dict) else None
        if not isinstance(name, str) or name not in QUESTIONS or not isinstance(params, dict):
            raise ProblemError(
                422,
                'a job is {"question": NAME, "params": {…}}',
                f"questions: {', '.join(QUESTIONS)}",
                kind="job",
            )
        question = QUESTIONS[name]
        lane = state.lane_for(question)
        job = await run_in_threadpool(lane.submit, question, parse(question, params))
        return accepted(job)

    @app.get(f"{PREFIX}/jobs/{{job}}", tags=["jobs"], summary="How far is it?")
    async def job_state(job: str) -> Response:
        return document(found(job).document())

    @app.get(f"{PREFIX}/jobs/{{job}}/result", tags=["jobs"], summary="What did it end with?")
    async def job_result(job: str, request: Request) -> Response:
        return result(found(job), request)

    @app.get(f"{PREFIX}/jobs/{{job}}/events", tags=["jobs"], summary="Its progress, as it comes.")
    async def job_events(job: str) -> Response:
        return StreamingResponse(_stream(found(job), state), media_type="text/event-stream")

    @app.delete(f"{PREFIX}/jobs/{{job}}", tags=["jobs"], summary="Cancel it.")
    async def cancel(job: str) -> Response:
        wanted = found(job)
        (state.lane_of(job) or state.jobs).cancel(wanted)
        return document(wanted.document())


async def _stream(job: Job, state: ServerState) -> AsyncIterator[str]:
    """Server-sent events: `progress` whenever it changed, then `end`."""
    told = ""
    while True:
        ended = job.ended
        said = json.dumps(job.document())
        if said != told:
            told = said
            yield f"event: {'end' if ended else 'progress'}\ndata: {said}\n\n"
        if ended or state.records.stopping.is_set():
            return
        await asyncio.sleep(STREAM_S)


def _add_recording(app: FastAPI, state: ServerState) -> None:
    @app.post(
        f"{PREFIX}/events",
        tags=["recording"],
        summary="Record events; when this answers, they are on disk.",
        status_code=201,
    )
    async def record(request: Request) -> Response:
        body = await body_of(request)
        stored: Any = await run_in_threadpool(state.receiver.accept, body)
        return Response(encode(stored), 201, media_type="application/json")


def _add_lab(app: FastAPI, state: ServerState, lab: Jobs) -> None:
    # Imported only where it was asked for: it brings the simulator into the process.
    from api.lab.whatif import WHATIF, WhatifParams, prepare

    def submit(body: Any) -> Job:
        if not isinstance(body, dict):
            raise ParameterError("the body is an object of parameters")
        params = WHATIF.parse(body)
        if isinstance(params, WhatifParams):
            prepare(state.records, params)
        return lab.submit(WHATIF, params)

    @app.post(
        f"{PREFIX}{WHATIF.path}",
        tags=["lab"],
        summary=f"{WHATIF.title} The truth in the body is used for this answer and not kept.",
        status_code=202,
        openapi_extra=describe(WHATIF, with_body=True),
    )
    async def replay(request: Request) -> Response:
        return accepted(await run_in_threadpool(submit, await body_of(request)))
