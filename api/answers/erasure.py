"""Words of sampled answers, erased for good.

A server does this only where it was started for it: whoever reaches it could otherwise destroy what
nobody can bring back.
"""

from api.documents import Document
from api.parameters import EraseParams
from api.records import Progress, Records
from api.rounds import parse_round
from forensics.alarms import last_model
from ingest.erasure import erase_texts
from roundlog.errors import QuestionError


class NotErasingError(QuestionError):
    """This server was not started for erasing."""

    hint = "start it with `roundlog serve --erase`, or stop it and erase with the command line"


def erase(records: Records, params: EraseParams, progress: Progress) -> Document:
    """Takes the words out, and says how many; with `dry_run`, how many there are."""
    if not (records.may_erase or params.dry_run):
        raise NotErasingError("this server erases nothing")
    run = records.run(params.run)
    head = last_model(records.store, run)
    before = None if params.before is None else parse_round(params.before, head, what="model")
    return erase_texts(
        records.case,
        records.log,
        run,
        before=before,
        actor=params.actor,
        authenticated="local",
        note=params.note,
        said_at=head,
        dry_run=params.dry_run,
        progress=lambda done, total: progress("erase", done, total),
    ).document()
