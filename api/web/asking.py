"""How does a request become a question, and its answer a response?

Answers carry a strong ETag over their own bytes. A slow question runs as a job: the request waits
for it as long as `Prefer: wait=SECONDS` allows, then answers 202 with the job's place.
"""

import re
import time
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.answers.files import FILES
from api.documents import encode, etag
from api.parameters import ParameterError, Params
from api.questions import Question
from api.records import Records
from api.web.jobs import Job, Jobs
from api.web.problems import ProblemError, problem_of
from roundlog.encoding import strict_json
from roundlog.errors import HeadError

JSON = "application/json"

# How long a request waits for a job unless it says otherwise: most answers come in this time, and
# proxies and clients commonly give up after thirty or sixty seconds.
WAIT_S = 25.0
MOST_WAIT_S = 300.0

_WAIT = re.compile(r"(?:^|[,;\s])wait\s*=\s*(\d{1,6})")


def answer(
    question: Question, request: Request, values: Mapping[str, Any], records: Records, jobs: Jobs
) -> Response:
    """The response to one question; runs in a worker thread."""
    params = parse(question, values)
    media_type = negotiate(request, (JSON, *FILES.get(question.name, ())))
    if media_type != JSON:
        return _file(question, records, params, media_type, request)
    if question.slow:
        job = jobs.submit(question, params)
        if not _wait(job, wanted_wait(request), records):
            return accepted(job)
        return result(job, request)
    return document(question.answer(records, params), request)


def _wait(job: Job, seconds: float, records: Records) -> bool:
    """Waits for a job, but not beyond the server's own end; whether it has ended."""
    deadline = time.monotonic() + seconds
    while not job.wait(min(0.25, max(0.0, deadline - time.monotonic()))):
        if time.monotonic() >= deadline or records.stopping.is_set():
            return False
    return True


def parse(question: Question, values: Mapping[str, Any]) -> Params:
    """Parameters as they may come over the wire.

    Raises:
        ParameterError: One is wrong, or would make the server import code.
    """
    if local := question.params.local_only & set(values):
        raise ParameterError(
            f"{', '.join(sorted(local))} is not taken over HTTP: it names code to import. Ask with "
            f"the command line, on a machine that holds the case."
        )
    return question.parse(values)


def document(
    answered: Any, request: Request | None = None, *, status: int = 200, **headers: str
) -> Response:
    """JSON, with its ETag; 304 where the client holds these very bytes."""
    return _tagged(encode(answered), JSON, request, status, headers)


def result(job: Job, request: Request) -> Response:
    """What a job ended with.

    Raises:
        ProblemError: It has not ended.
    """
    if not job.ended:
        raise ProblemError(
            409, f"job {job.id} is {job.state}", "GET its events until it has ended", kind="job"
        )
    if job.error is not None:
        raise problem_of(job.error)
    return document(job.answer, request, Link=f'</api/v1/jobs/{job.id}>; rel="via"')


def accepted(job: Job) -> Response:
    """202, and where to look."""
    headers = {"Location": f"/api/v1/jobs/{job.id}", "Retry-After": "1"}
    return Response(encode(job.document()), 202, headers=headers, media_type=JSON)


def wanted_wait(request: Request) -> float:
    """Seconds for which the client is willing to wait (RFC 7240)."""
    prefer = request.headers.get("prefer", "").lower()
    if "respond-async" in prefer and not _WAIT.search(prefer):
        return 0.0
    found = _WAIT.search(prefer)
    return min(float(found[1]), MOST_WAIT_S) if found else WAIT_S


def negotiate(request: Request, offered: tuple[str, ...]) -> str:
    """The media type that the client would rather have.

    Raises:
        ProblemError: It wants none of those that there are.
    """
    wanted: list[tuple[float, int, str]] = []
    for place, part in enumerate(request.headers.get("accept", "*/*").split(",")):
        name, *options = (piece.strip() for piece in part.lower().split(";"))
        quality = next((o[2:] for o in options if o.startswith("q=")), "1")
        if re.fullmatch(r"[01](\.\d{0,3})?", quality) and float(quality) > 0:
            wanted.append((-float(quality), place, name))
    for _, _, name in sorted(wanted):
        for media_type in offered:
            if name in (media_type, "*/*", f"{media_type.partition('/')[0]}/*"):
                return media_type
    raise ProblemError(
        406,
        f"this is answered as {', '.join(offered)}, and the request accepts none of them",
        "send Accept: application/json",
        kind="accept",
    )


async def body_of(request: Request) -> Any:
    """The request's JSON, read strictly.

    Raises:
        ProblemError: Another media type, or not strict JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != JSON:
        # Also keeps web pages out: a form of another origin cannot send this type.
        raise ProblemError(
            415, f"the body is {kind or 'of no type'}", "send application/json", kind="media-type"
        )
    try:
        return strict_json(await request.body())
    except HeadError as error:
        raise ProblemError(
            422,
            f"the body cannot be read: {error}",
            "send JSON in UTF-8: no NaN, no key twice, integers of 64 bits",
            kind=f"body-{error.reason.replace('_', '-')}",
        ) from error


def query_of(request: Request) -> dict[str, Any]:
    """Query parameters; one given twice is refused rather than guessed.

    Raises:
        ParameterError: One stands twice.
    """
    values: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in values:
            raise ParameterError(f"the parameter {name!r} stands twice")
        values[name] = value
    return values


def _file(
    question: Question, records: Records, params: Params, media_type: str, request: Request
) -> Response:
    # Imported late: safetensors and polars' writers are of no use to most requests.
    from api.answers.files import as_file

    body = as_file(question.name, records, params, media_type)
    return _tagged(body, media_type, request, 200, {"Vary": "Accept"})


def _tagged(
    body: bytes, media_type: str, request: Request | None, status: int, headers: Mapping[str, str]
) -> Response:
    tag = etag(body)
    # no-cache: keep it, but ask before using it; the ETag makes that cheap.
    extra = {"ETag": tag, "Cache-Control": "private, no-cache", **headers}
    if request is not None and status == 200:
        known = {part.strip() for part in request.headers.get("if-none-match", "").split(",")}
        if tag in known or "*" in known:
            return Response(status_code=304, headers=extra)
    return Response(body, status, headers=extra, media_type=media_type)
