"""Which audited answers did somebody call bad? Named ones, read back out of the record.

An audited answer is named by the model that gave it and the item of that model's sample. Its words
lie beside the head of its event, where they can be erased (ADR 3); what is given out here has the
salted digest that the head names.

Nothing here judges: whoever names an answer says that it was bad.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from forensics.rebuild import CaseModels
from ingest.store import Store
from roundlog.encoding import decode_frame, digest, strict_json
from roundlog.errors import FrameError, HeadError, QuestionError
from roundlog.events import parse_head
from roundlog.log.segments import Segment

SALT_BYTES = 16
"""Random bytes before the words of an audited answer."""

TOKEN_LIMIT = 2**31
"""Tokens are below this, as in a trigger file."""

# So many items are listed where one is wrong.
LISTED = 12


@dataclass(frozen=True, slots=True)
class Flagged:
    """One input whose answer somebody called bad."""

    tokens: tuple[int, ...]
    answer: int
    """What the model answered."""
    category: str
    """Kind of input, as the record has it."""
    said: str
    """Where it comes from, for people: `700:5`, or `line 3`."""


def audited(
    models: CaseModels, store: Store, wanted: Sequence[tuple[int, int]]
) -> tuple[Flagged, ...]:
    """Audited answers of a run, in the order in which they are named; each once.

    Args:
        wanted: For each, t of the model that answered, and the item of that model's sample.

    Raises:
        QuestionError: No such item; or its words were erased, or are not those that were recorded.
    """
    rounds = {t: _items(store, models.run, t) for t in dict.fromkeys(t for t, _ in wanted)}
    heads: dict[Path, bytes] = {}
    found = []
    for t, item in dict.fromkeys(wanted):
        if item not in rounds[t]:
            raise QuestionError(_no_item(models.run, t, item, sorted(rounds[t]), store))
        row = rounds[t][item]
        folder = models.case.segments / models.run / row["producer"]
        path = Segment(folder, row["segment"]).heads
        if path not in heads:
            heads[path] = path.read_bytes()
        said = f"{t}:{item}"
        tokens = _tokens(_words(heads[path], row, said), said)
        found.append(Flagged(tokens, row["answer"], row["category"], said))
    return tuple(found)


def _items(store: Store, run: str, t: int) -> dict[int, dict[str, Any]]:
    rows = store.query(_sql("audits_of_round"), {"run": run, "round": t}).to_dicts()
    return {row["item"]: row for row in rows}


def _no_item(run: str, t: int, item: int, items: Sequence[int], store: Store) -> str:
    if items:
        return (
            f"run {run!r} has no audited answer {t}:{item}; of model {t} it has items "
            f"{_listed(items)}"
        )
    rounds = [int(row[0]) for row in store.rows(_sql("audited_rounds"), {"run": run})]
    if not rounds:
        return (
            f"run {run!r} recorded no audited answers (audit.sampled); give a labelled set of "
            f"examples instead"
        )
    return (
        f"run {run!r} has no audited answers of model {t}; it has some of models {_listed(rounds)}"
    )


def _listed(numbers: Sequence[int]) -> str:
    """`0 to 99`, or the numbers themselves, as many as a person reads."""
    if len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1:
        return f"{numbers[0]} to {numbers[-1]}"
    rest = f", … up to {numbers[-1]}" if len(numbers) > LISTED else ""
    return ", ".join(map(str, numbers[:LISTED])) + rest


def _words(heads: bytes, row: Mapping[str, Any], said: str) -> bytes:
    """What stands behind the salt, after it was compared with the digest in the head.

    Raises:
        QuestionError: It was erased, or it is not what was recorded.
    """
    start = row["text_offset"]
    text = heads[start : start + row["text_bytes"]]
    # Erasing overwrites the words in their place, salt included.
    if not any(text):
        raise QuestionError(
            f"the words of audited answer {said} were erased, for good; name another item of the "
            f"same kind"
        )
    try:
        frame, _ = decode_frame(heads, row["heads_offset"])
        recorded = [tail.erasable for tail in parse_head(frame.head).tails if tail.name == "text"]
        whole = digest(frame.head) == row["digest"] and recorded == [digest(text)]
    except (FrameError, HeadError):
        whole = False
    if not whole:
        raise QuestionError(
            f"the words of audited answer {said} are not those that were recorded; run `roundlog "
            f"verify`, and name another item"
        )
    return text[SALT_BYTES:]


def _tokens(words: bytes, said: str) -> tuple[int, ...]:
    try:
        tokens = strict_json(words)["tokens"]
    except (HeadError, KeyError, TypeError):
        tokens = None
    if (
        not isinstance(tokens, list)
        or not tokens
        or not all(type(token) is int and 0 <= token < TOKEN_LIMIT for token in tokens)
    ):
        raise QuestionError(
            f"audited answer {said} was recorded without the tokens of its prompt; give such "
            f"prompts as a labelled set of examples"
        )
    return tuple(tokens)


def _sql(name: str) -> str:
    return (resources.files("forensics") / "sql" / f"{name}.sql").read_text(encoding="utf-8")
