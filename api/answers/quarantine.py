"""Which records were refused, and what is in them? Rows from the projection, bytes from the case.

What was refused was written by somebody who may wish us ill: its bytes leave as hexadecimal digits,
and its head, where there is one, as a text that the doors show sanitised.
"""

from api.documents import Document
from api.parameters import NoParams, QuarantinedParams
from api.records import Progress, Records
from ingest.quarantine import Quarantine, Refused
from roundlog.encoding import decode_frame
from roundlog.errors import FrameError, QuestionError


def quarantine(records: Records, params: NoParams, progress: Progress) -> Document:
    """Records that were refused; their bytes lie in the case's quarantine/."""
    return {"records": records.query("quarantine", run=params.run).to_dicts()}


def quarantined(records: Records, params: QuarantinedParams, progress: Progress) -> Document:
    """One refused record: its row, its first bytes, and its head where it is a frame."""
    listed = records.query("quarantine", run=None).to_dicts()
    found = [row for row in listed if row["id"].startswith(params.record)]
    if len(found) != 1:
        what = "no refused record" if not found else f"{len(found)} refused records"
        raise QuestionError(
            f"{what} has an id that begins with {params.record}; `roundlog quarantine list` "
            f"names each"
        )
    row = found[0]
    _, raw = _read(records, row["id"])
    return {
        "record": row,
        "head": _head(raw),
        "shown": min(params.bytes, len(raw)),
        "hex": raw[: params.bytes].hex(),
    }


def _read(records: Records, id_: str) -> tuple[Refused, bytes]:
    try:
        entry = Quarantine(records.case.quarantine).read(id_)
    except OSError as error:
        entry, why = None, f"cannot be read: {error.strerror}"
    else:
        why = "is damaged"
    if entry is None:
        raise QuestionError(
            f"quarantine/{id_}.record {why}; what was refused is not known any more. "
            f"`roundlog scrub` says what else is wrong"
        )
    return entry


def _head(raw: bytes) -> str | None:
    """The head as it was written, invalid UTF-8 replaced; None where the bytes are no frame."""
    try:
        frame, _ = decode_frame(raw)
    except FrameError:
        return None
    return frame.head.decode("utf-8", errors="replace")
