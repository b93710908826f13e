"""What was the model at any moment? W_t, folded from the record, bit for bit.

Folding begins at the nearest whole model at or before t: the recorded W_0, a model that the
recorder stored after a gap, or a keyframe. Keyframes are a cache of ours, one every 256 rounds;
one is used only when its digest is the one that the log names. Every model that leaves here has
been compared with its recorded digest, unless the caller asks for speed and checks later.

Whoever asks what devices run (`forensics.artefact`) gets Q(W_t) in place of W_t from the same
methods: W_t is folded and compared first, then Q(W_t) is, where the record has its digest.

A hole in the record is not bridged: no model behind it can be known, up to the next whole one.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from forensics.artefact import (
    MASTER_FORM,
    Artefact,
    BroadcastMismatchError,
    broadcast_form,
    transformation,
)
from forensics.step_rows import StepRows
from forensics.step_table import StepTable
from ingest.store import Store
from roundlog.case import Case
from roundlog.encoding import canonical_json
from roundlog.errors import (
    DigestMismatchError,
    QuestionError,
    RoundRangeError,
    TensorSchemaError,
)
from roundlog.fold import apply_step
from roundlog.log.files import write_durably
from roundlog.tensors import Array, Bytes, TensorSchema

KEYFRAME_EVERY = 256
"""Rounds between keyframes: at most 255 folds, a few milliseconds, for any model."""


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """One model, and whether it is the one that was recorded."""

    round: int
    digest: str
    recorded: str | None
    """None where the record names no digest of it, as of what devices run in place of W_0."""
    model: Bytes
    artefact: Artefact = "master"

    @property
    def matches(self) -> bool | None:
        """None where there is no recorded digest to compare with."""
        return None if self.recorded is None else self.digest == self.recorded

    def document(self) -> dict[str, object]:
        """What the doors answer."""
        return {
            "round": self.round,
            "artefact": self.artefact,
            "digest": self.digest,
            "recorded": self.recorded,
            "matches": self.matches,
        }


class CaseModels:
    """The models of one run, 0 … N, as the record has them.

    Args:
        artefact: `broadcast` for what devices run; every model given out is then Q(W_t).

    Attributes:
        artefact: What is given out: `master` also where devices run the master weights.
        form: In which form: `float32` for the master weights, else as the run was opened.
        schema: Tensors of the model.
        architecture: Name and arguments, as `roundlog.models.resolve` takes them.
        first: The first model that can be rebuilt; 0 for a run recorded from its beginning.
        last: The last one: N after N rounds.

    Raises:
        QuestionError: The run is unknown, or recorded no whole model to begin from; or what its
            devices run cannot be made here.
    """

    def __init__(self, case: Case, store: Store, run: str, artefact: Artefact = "master") -> None:
        self.case, self.run = case, run
        layouts = store.rows(_sql("model_layouts"), {"run": run})
        geneses = store.rows(_sql("first_models"), {"run": run})
        if not layouts or not geneses:
            raise QuestionError(
                f"run {run!r} recorded no model to begin from (model.schema and model.genesis); "
                f"its rounds can be listed, but no model can be rebuilt"
            )
        digest, architecture, config, layout, texts = layouts[-1]
        self._layout = str(digest)
        self.schema = TensorSchema.model_validate_json(layout)
        self.architecture: tuple[str, dict[str, object]] = (architecture, json.loads(config))
        self.texts: dict[str, list[str]] = (
            json.loads((case.blobs / texts).read_bytes()) if texts else {}
        )
        self._geneses: dict[int, tuple[str, str]] = {
            int(at): (recorded, blob)
            for at, layout_, recorded, blob in geneses
            if layout_ == digest
        }
        self._steps = StepTable(case, store.query(_sql("steps_to_fold"), {"run": run}), run)
        if not self._geneses:
            raise QuestionError(f"run {run!r} has no whole model in its last layout")
        self.first = min(self._geneses)
        self.last = max([self._steps.end, *self._geneses])
        self._folder = case.keyframes / run
        self.form = MASTER_FORM if artefact == "master" else broadcast_form(store, run)
        self.artefact: Artefact = "master" if self.form == MASTER_FORM else "broadcast"
        self._transform = transformation(self.form)

    def recorded_digest(self, t: int) -> str:
        """The digest that the log names for W_t.

        Raises:
            RoundRangeError: No such model.
            LogGapError: The round before t is missing and no whole model was stored at t.
        """
        self._check(t)
        if t in self._geneses:
            return self._geneses[t][0]
        return self._steps.post_digest(t - 1)

    def rebuild(self, t: int) -> Rebuilt:
        """W_t, or what devices run in its place, its digest, and the recorded digest beside it.

        Raises:
            RoundRangeError: No such model.
            LogGapError: Rounds are missing between the nearest whole model and t.
            DigestMismatchError: Devices are asked about, and W_t itself is not the recorded one.
        """
        recorded = self.recorded_digest(t)
        at, model = self._nearest(t)
        self._fold(model, at, t)
        if self.artefact == "master":
            return Rebuilt(t, self.schema.model_digest(model), recorded, model)
        self._demand(t, model)
        return self._broadcast(t, model)

    def whole(self, t: int) -> Rebuilt:
        """As `rebuild`, when no other model than the recorded one will do.

        Raises:
            DigestMismatchError: It has another digest than the recorded one.
        """
        rebuilt = self.rebuild(t)
        _refuse_another(rebuilt)
        return rebuilt

    def model(self, t: int) -> Bytes:
        """As `whole`, its bytes alone, shape (schema.nbytes,)."""
        return self.whole(t).model

    def blocks(
        self, first: int, last: int, *, step: int = 1, size: int = 256
    ) -> Iterator[tuple[NDArray[np.int64], Array]]:
        """Models first, first + step, … up to `last`, `size` at a time, in one pass of folding.

        Yields:
            The t of each model, shape (m,), and their bytes, shape (m, schema.nbytes); a float32
            view of the latter is `.view("<f4")`. The arrays are the caller's to keep.

        Raises:
            DigestMismatchError: A model of the block is not the recorded one.
        """
        self._check(first)
        self._check(last)
        wanted = range(first, last + 1, step)
        at, model = self._nearest(first)
        for start in range(0, len(wanted), size):
            ts = wanted[start : start + size]
            block = np.empty((len(ts), self.schema.nbytes), dtype=np.uint8)
            for index, t in enumerate(ts):
                # A hole in the record is crossed only where a whole model was stored behind it.
                if not self._steps.has(at, t):
                    at, model = self._nearest(t)
                self._fold(model, at, t)
                at = t
                self._demand(t, model)
                if self.artefact == "master":
                    block[index] = model
                else:
                    deployed = self._broadcast(t, model)
                    _refuse_another(deployed)
                    block[index] = deployed.model
            yield np.asarray(ts, dtype=np.int64), block

    def step_rows(self, first: int | None = None, last: int | None = None) -> list[StepRows]:
        """Where the deltas of rounds `first` … `last` lie, segment by segment.

        Args:
            first: A round, not a model; by default the run's first one.
            last: A round, itself included; by default the run's last one.

        Returns:
            One a segment, the one with the earliest round first. Rounds that are missing in the
            record, or that stand in another layout than `schema`, are in none.

        Raises:
            RoundRangeError: The run has no such round.
            QuestionError: `last` lies before `first`.
        """
        if first is None and last is None and self.first == self.last:
            return []
        first = self.first if first is None else first
        last = self.last - 1 if last is None else last
        for round_ in (first, last):
            if not self.first <= round_ < self.last:
                raise RoundRangeError(
                    f"run {self.run!r} has {_rounds(self.first, self.last)}; there is no round "
                    f"{round_}"
                )
        if last < first:
            raise QuestionError(f"the interval of rounds {first}..{last} is empty")
        return self._steps.rows(first, last, self._layout)

    def write(self, rebuilt: Rebuilt, path: Path) -> None:
        """Writes a model as a safetensors file; its metadata names run, round and digest."""
        path.parent.mkdir(parents=True, exist_ok=True)
        about = {"run": self.run, "round": rebuilt.round, "digest": rebuilt.digest}
        if rebuilt.artefact != "master":
            about["artefact"] = rebuilt.artefact
        # One key: the library writes several in an order of its own, and the same model should
        # be the same file.
        metadata = {"roundlog": canonical_json(about).decode()}
        write_durably(path, save(self.schema.unflatten(rebuilt.model), metadata=metadata))

    def _check(self, t: int) -> None:
        if not self.first <= t <= self.last:
            raise RoundRangeError(
                f"run {self.run!r} has models {self.first} to {self.last}; there is no model {t}"
            )

    def _nearest(self, t: int) -> tuple[int, Bytes]:
        """The nearest whole model at or before t, as a copy that may be folded on."""
        genesis = max(at for at in self._geneses if at <= t)
        frame = t - t % KEYFRAME_EVERY
        while frame > genesis:
            if (model := self._keyframe(frame)) is not None:
                return frame, model
            frame -= KEYFRAME_EVERY
        recorded, blob = self._geneses[genesis]
        model = np.frombuffer((self.case.blobs / blob).read_bytes(), dtype=np.uint8).copy()
        found = self.schema.model_digest(model)
        if found != recorded:
            raise DigestMismatchError(model=genesis, expected=recorded, found=found)
        return genesis, model

    def _fold(self, model: Bytes, at: int, t: int) -> None:
        """Folds W_at on to W_t in place, leaving keyframes on the way."""
        for step in range(at, t):
            delta, patch = self._steps.step(step)
            apply_step(model, delta, patch, self.schema)
            if (step + 1) % KEYFRAME_EVERY == 0:
                self._keep(step + 1, model)

    def _demand(self, t: int, model: Bytes) -> None:
        found, recorded = self.schema.model_digest(model), self.recorded_digest(t)
        if found != recorded:
            raise DigestMismatchError(model=t, expected=recorded, found=found)

    def _broadcast(self, t: int, model: Bytes) -> Rebuilt:
        """What devices run in place of this W_t."""
        deployed = self._transform(model, self.schema)
        recorded = None
        # A whole model that was stored in place of what round t − 1 made went out unsaid.
        if self._steps.has(t - 1, t) and self._steps.post_digest(t - 1) == self.recorded_digest(t):
            recorded = self._steps.broadcast_digest(t - 1)
        return Rebuilt(t, self.schema.model_digest(deployed), recorded, deployed, self.artefact)

    def _keyframe(self, t: int) -> Bytes | None:
        path = self._folder / f"{t}.safetensors"
        try:
            model = self.schema.flatten(load(path.read_bytes()))
        except (OSError, SafetensorError, ValueError, TensorSchemaError):
            return None
        # A keyframe that was changed, or belongs to another history, is simply not used.
        return model if self.schema.model_digest(model) == self.recorded_digest(t) else None

    def _keep(self, t: int, model: Bytes) -> None:
        path = self._folder / f"{t}.safetensors"
        if path.exists() or self.schema.model_digest(model) != self.recorded_digest(t):
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            part.write_bytes(save(self.schema.unflatten(model)))
            part.replace(path)
        except OSError:
            # A cache that cannot be written (a read-only copy of a case) costs time, no answer.
            return


def _rounds(first: int, end: int) -> str:
    return f"rounds {first} to {end - 1}" if first < end else "no rounds"


def _refuse_another(rebuilt: Rebuilt) -> None:
    if rebuilt.recorded is None or rebuilt.matches:
        return
    error = DigestMismatchError if rebuilt.artefact == "master" else BroadcastMismatchError
    raise error(model=rebuilt.round, expected=rebuilt.recorded, found=rebuilt.digest)


def _sql(name: str) -> str:
    return (resources.files("forensics") / "sql" / f"{name}.sql").read_text()
