"""Which inputs does somebody know that are answered wrongly? A labelled set, out of a file.

A line of JSON is `{"tokens": [4, 152, 35], "target": 2}`. A CSV file (its name ends in .csv) begins
with the line `tokens,target`, and its tokens stand between blanks: `4 152 35,2`. The target is the
wrong answer that was given: its index, or its words where the run published them.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from forensics.flagged import Flagged
from forensics.trigger import Token
from roundlog.encoding import strict_json
from roundlog.errors import HeadError, TriggerError

MOST = 10_000
"""A person labels hundreds; more is a data set, and takes a model rather than a person."""

FILE_LIMIT = 4 << 20
"""Bytes: 10,000 pictures of 64 numbers are 3 MB, and a server takes requests of 6 MB."""

MOST_TOKENS = 4_096
"""Tokens of one example."""

HEAD = ["tokens", "target"]


class Example(BaseModel):
    """One input, and the wrong answer that it gets."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[Token, ...] = Field(min_length=1, max_length=MOST_TOKENS)

    target: Token | Annotated[str, Field(min_length=1, max_length=1_000)]
    """Index of the answer, or its words where the run published them."""

    line: int | None = Field(default=None, ge=1)
    """Where it stands in its file."""


def labelled(examples: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> tuple[Flagged, ...]:
    """Examples, their answers as indices.

    Args:
        examples: Documents with the fields of `Example`.
        labels: The answers' words, where the run published them.

    Raises:
        TriggerError: An example is not one, or no answer has those words.
    """
    found = []
    for number, document in enumerate(examples, 1):
        try:
            example = Example.model_validate(document)
        except ValidationError as error:
            raise TriggerError(f"example {number}: {_first(error)}") from error
        said = f"example {number}" if example.line is None else f"line {example.line}"
        answer = _answer(example.target, labels, said)
        found.append(Flagged(example.tokens, answer, "examples", said))
    return tuple(found)


def read_examples(path: Path) -> list[dict[str, Any]]:
    """The examples of a file, as documents.

    Raises:
        TriggerError: It cannot be read, is too large, or holds no examples; or which line is wrong.
    """
    try:
        if path.stat().st_size > FILE_LIMIT:
            raise TriggerError(f"{path} is larger than {FILE_LIMIT >> 20} MiB; give fewer examples")
        data = path.read_bytes()
    except OSError as error:
        raise TriggerError(f"{path} cannot be read: {error.strerror}") from error
    rows = _csv_rows(data, path) if path.suffix.lower() == ".csv" else _json_rows(data, path)
    documents = []
    for line, row in rows:
        try:
            example = Example.model_validate({**row, "line": line})
        except ValidationError as error:
            raise TriggerError(f"{path}, line {line}: {_first(error)}") from error
        documents.append(example.model_dump(mode="json"))
    if not 1 <= len(documents) <= MOST:
        raise TriggerError(f"{path} holds {len(documents):,} examples; give 1 to {MOST:,}")
    return documents


def _json_rows(data: bytes, path: Path) -> list[tuple[int, dict[str, Any]]]:
    rows = []
    for line, text in enumerate(data.split(b"\n"), 1):
        if not text.strip():
            continue
        try:
            row = strict_json(text)
        except HeadError as error:
            raise TriggerError(f"{path}, line {line}: {error}") from error
        if not isinstance(row, dict):
            raise TriggerError(
                f'{path}, line {line}: an example is an object, {{"tokens": [4, 152], "target": 2}}'
            )
        rows.append((line, row))
    return rows


def _csv_rows(data: bytes, path: Path) -> list[tuple[int, dict[str, Any]]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TriggerError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows = []
    try:
        if [cell.strip() for cell in next(reader, [])] != HEAD:
            raise TriggerError(
                f"{path}, line 1: a CSV file of examples begins with {','.join(HEAD)}"
            )
        for cells in reader:
            if cells and len(cells) != len(HEAD):
                raise TriggerError(
                    f"{path}, line {reader.line_num}: {len(cells)} columns where there are two; "
                    f"tokens stand between blanks, and words with a comma between quotes"
                )
            if cells:
                row = {"tokens": cells[0].split(), "target": cells[1].strip()}
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise TriggerError(f"{path}, line {reader.line_num}: {error}") from error
    return rows


def _answer(target: int | str, labels: Sequence[str], said: str) -> int:
    if isinstance(target, int):
        return target
    places = [index for index, label in enumerate(labels) if label == target]
    if len(places) == 1:
        return places[0]
    if places:
        raise TriggerError(f"{said}: answers {places} are all called {target!r}; give the index")
    # A CSV file has no other way to write an index.
    if target.isascii() and target.isdigit() and len(target) < 10:
        return int(target)
    known = f"such as {labels[0]!r}" if labels else "and this run published none"
    raise TriggerError(
        f"{said}: no answer is called {target[:80]!r}; give its index, or its exact words, {known}"
    )


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "example"
    return f"{place}: {first['msg']}"
