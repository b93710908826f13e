"""Which of two models is asked at t: the master weights W_t, or what devices run in their place?

A server may train W_t and ship Q(W_t) (`roundlog.artefact`). The two answer differently, and a
backdoor may live in one and not in the other. Every question about models can be asked of either;
where devices run the master weights themselves, the two are one, and answers say `master`.
"""

from collections.abc import Callable
from importlib import resources
from typing import Literal, get_args

from ingest.store import Store
from roundlog.artefact import Broadcast, as_broadcast
from roundlog.errors import DigestMismatchError, QuestionError
from roundlog.tensors import Array, Bytes, TensorSchema

Artefact = Literal["master", "broadcast"]

Transformation = Callable[[Array, TensorSchema], Bytes]
"""From the bytes of W_t to those of what devices run, in the same schema."""

MASTER_FORM = "float32"


class BroadcastMismatchError(DigestMismatchError):
    """W_t is the recorded one, but what devices run in its place is not."""

    def __init__(self, *, model: int, expected: str, found: str) -> None:
        super().__init__(model=model, expected=expected, found=found)
        message = (
            f"what devices run in place of model {model} was made as {found[:16]}… but recorded as "
            f"{expected[:16]}…; the master weights are as recorded, so they can be asked "
            f"(--artefact master), but not what ran on devices. `roundlog verify` names all such "
            f"rounds."
        )
        self.args = (message,)


def can_be_made(form: str) -> bool:
    """Whether we know how Q(W) follows from W in this form of `run.opened.broadcast`."""
    return form in get_args(Broadcast)


def transformation(form: str) -> Transformation:
    """How Q(W) follows from W.

    Raises:
        QuestionError: The form is not one that we can make.
    """
    for known in get_args(Broadcast):
        if form == known:
            return as_broadcast(known)
    raise QuestionError(
        f"devices run the models as {form!r}, and only {', '.join(get_args(Broadcast))} can be "
        f"made here; what they answer cannot be asked. Ask the master weights (--artefact master)"
    )


def broadcast_form(store: Store, run: str) -> str:
    """In which form devices get a run's models; float32 where the record does not say.

    Raises:
        QuestionError: The run was opened again in another form.
    """
    sql = (resources.files("forensics") / "sql" / "broadcast_forms.sql").read_text()
    forms = [str(row[0]) for row in store.rows(sql, {"run": run})]
    if len(forms) > 1:
        raise QuestionError(
            f"run {run!r} was opened with different forms for devices "
            f"({', '.join(map(repr, forms))}), and does not say which model went out in which; ask "
            f"the master weights (--artefact master)"
        )
    return forms[0] if forms else MASTER_FORM
