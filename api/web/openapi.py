"""What does the OpenAPI page say of a question? Its parameters and an example, from one place."""

from typing import Any

from api.answers.files import FILES
from api.questions import Question
from api.web.problems import PROBLEM

PROBLEM_EXAMPLE = {
    "type": "urn:roundlog:problem:round-range",
    "title": "Not found",
    "status": 404,
    "detail": "there is no model 9000: the run has models 0 to 5000",
    "hint": None,
    "exit_code": 1,
    "instance": "/api/v1/runs/quickstart-0123456789ab/models/9000",
}


def describe(
    question: Question, *, with_body: bool = False, is_act: bool = False
) -> dict[str, Any]:
    """`openapi_extra` of a question's route, or of an act's."""
    schema = question.params.model_json_schema()
    properties: dict[str, Any] = {
        name: value
        for name, value in schema.get("properties", {}).items()
        if name not in question.params.local_only
    }
    required = schema.get("required", [])
    extra: dict[str, Any] = {"responses": responses(question)}
    if is_act:
        written = extra["responses"].pop("200")
        extra["responses"] = {"201": written, "default": extra["responses"]["default"]}
    in_path = [name for name in properties if f"{{{name}}}" in question.path]
    extra["parameters"] = [_parameter(name, properties[name], "path", True) for name in in_path]
    rest = {name: value for name, value in properties.items() if name not in in_path}
    if with_body:
        needed = [name for name in required if name in rest]
        body = {"type": "object", "properties": rest, "required": needed}
        extra["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    else:
        extra["parameters"] += [
            _parameter(name, value, "query", name in required) for name, value in rest.items()
        ]
    if "$defs" in schema:
        extra["x-definitions"] = schema["$defs"]
    return extra


def responses(question: Question) -> dict[str, Any]:
    """What may come back."""
    content: dict[str, Any] = {"application/json": {"example": question.example}}
    content |= {media_type: {} for media_type in FILES.get(question.name, ())}
    found: dict[str, Any] = {
        "200": {"description": question.title, "content": content},
        "304": {"description": "You hold this answer already (ETag)."},
        "default": {
            "description": "A problem, as RFC 9457 has it.",
            "content": {PROBLEM: {"example": PROBLEM_EXAMPLE}},
        },
    }
    if question.slow:
        found["202"] = {"description": "A job; `Location` says where. See `Prefer: wait=SECONDS`."}
    return found


def _parameter(name: str, schema: dict[str, Any], place: str, required: bool) -> dict[str, Any]:
    shown = {key: value for key, value in schema.items() if key not in ("description", "title")}
    return {
        "name": name,
        "in": place,
        "required": required,
        "description": " ".join(str(schema.get("description", "")).split()),
        "schema": shown,
    }
