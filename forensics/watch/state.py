"""Where does a watch go on after a restart? Its state, stored with the place it belongs to.

A state names the model behind the last round that was read by its digest. One that belongs to
another history, another plan or other code is not used: the watch reads the run from its beginning
again, which takes time and raises no alarm twice.
"""

import os
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from roundlog.case import Case
from roundlog.encoding import canonical_json, strict_json
from roundlog.errors import HeadError

LIMIT = 64 << 20
"""Bytes of a stored state; the past that the e-detector keeps is 1 MB in 50,000 rounds."""


class _Closed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SeriesState(_Closed):
    """One series."""

    name: str
    model: int | None
    """t of the model at which its direction was taken; None where it has none."""

    detectors: tuple[dict[str, JsonValue], ...]
    """`State.document` of each detector."""


class WatchState(_Closed):
    """A whole watch after some rounds."""

    schema_: Literal["roundlog.watch-state/1"] = Field("roundlog.watch-state/1", alias="schema")
    identity: str
    """Of the plan, the run and the code."""

    next: int
    """The first round that was not read yet."""

    digest: str
    """Recorded digest of the model after the last round that was read."""

    series: tuple[SeriesState, ...]


def save_state(case: Case, state: WatchState) -> None:
    """Keeps a state in the case's cache; a disk that refuses costs time after a restart only."""
    file = _file(case, state.identity)
    part = file.with_name(f"{file.name}.{os.getpid()}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(canonical_json(state.model_dump(mode="json", by_alias=True)))
        part.replace(file)
    except OSError:
        return


def load_state(case: Case, identity: str) -> WatchState | None:
    """The state of that identity; None where there is none that can be read."""
    file = _file(case, identity)
    try:
        if file.stat().st_size > LIMIT:
            return None
        found = WatchState.model_validate(strict_json(file.read_bytes()))
    except (OSError, HeadError, ValidationError):
        return None
    return found if found.identity == identity else None


def _file(case: Case, identity: str) -> Path:
    return case.cache / "watch" / f"{identity}.json"
