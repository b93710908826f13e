"""What does a refusal look like? One shape for every error: RFC 9457, with a hint.

`exit_code` is what the command line would have exited with, so that a client on this side of the
wire fails as one on the other would.
"""

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.answers.erasure import NotErasingError
from api.documents import encode
from api.parameters import ParameterError
from api.records import CancelledError
from api.web.jobs import BusyError
from roundlog.errors import (
    BrokerError,
    CaseBusyError,
    EncodingError,
    FoldError,
    IngestError,
    LogGapError,
    LogLockedError,
    OversizedEventError,
    QuestionError,
    RoundlogError,
    RoundRangeError,
    ScenarioError,
    TriggerError,
)

PROBLEM = "application/problem+json"

TITLES = {
    400: "Bad request",
    401: "Not authenticated",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Conflict",
    410: "Gone",
    413: "Too large",
    415: "Unsupported media type",
    421: "Misdirected request",
    422: "Cannot be processed",
    500: "Internal error",
    503: "Not available",
}

HINTS = {
    404: "GET /openapi.json lists every route",
    405: "GET /openapi.json lists every route with its methods",
}

# The most specific class first.
STATUS: tuple[tuple[type[RoundlogError], int], ...] = (
    (OversizedEventError, 413),
    (ParameterError, 422),
    (RoundRangeError, 404),
    (TriggerError, 422),
    (NotErasingError, 403),
    (QuestionError, 422),
    (EncodingError, 422),
    (ScenarioError, 422),
    (LogLockedError, 409),
    (LogGapError, 409),
    (FoldError, 409),
    (CaseBusyError, 409),
    (CancelledError, 409),
    (BrokerError, 503),
    (BusyError, 503),
    (IngestError, 503),
)


@dataclass
class ProblemError(Exception):
    """A refusal that no roundlog function raised: it lies in the request itself."""

    status: int
    detail: str
    hint: str | None = None
    kind: str = "request"
    exit_code: int = 1
    headers: tuple[tuple[str, str], ...] = ()


def problem_response(problem: ProblemError, request: Request | None = None) -> Response:
    """The refusal as a response."""
    document: dict[str, Any] = {
        "type": f"urn:roundlog:problem:{problem.kind}",
        "title": TITLES.get(problem.status, "Error"),
        "status": problem.status,
        "detail": problem.detail,
        "hint": problem.hint or HINTS.get(problem.status),
        "exit_code": problem.exit_code,
    }
    if request is not None:
        document["instance"] = request.url.path
    return Response(
        encode(document), problem.status, media_type=PROBLEM, headers=dict(problem.headers)
    )


def problem_of(error: RoundlogError) -> ProblemError:
    """What one of our errors means over HTTP."""
    status = next((code for kind, code in STATUS if isinstance(error, kind)), 500)
    if isinstance(error, QuestionError) and str(error).startswith("there is no run"):
        status = 404
    return ProblemError(
        status=status,
        detail=str(error),
        hint=error.hint,
        kind=kind_of(error),
        exit_code=error.exit_code,
    )


def kind_of(error: RoundlogError) -> str:
    """`RoundRangeError` is `round-range`."""
    name = type(error).__name__.removesuffix("Error")
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in name).lstrip("-")
