"""Are words gone where their erasure is on record, and there where it is not? Step 8 of `verify`.

An erased text is no damage: its event, its digest and its place are as they were sealed, and the
owner of the case said who had it erased and why. Zeros that nobody answers for are damage, or
somebody who hides something. And words that were to be gone are a promise that was not kept.
"""

from forensics.evidence import RunEvidence, Text, Violation
from ingest.erasure import said_erased
from ingest.still import copying
from roundlog.case import Case
from roundlog.encoding import HEADER, claimed_end, decode_frame
from roundlog.events import TextsErased
from roundlog.log.erase import erased

# An erasure of a large run takes minutes.
PATIENCE_S = 900.0


def verify_erasures(case: Case, run: RunEvidence) -> int:
    """Adds what is wrong to the run's findings; how many texts were erased and may be."""
    doubtful = [text for text in run.texts if text.erased != _is_said(run.said, text)]
    count = sum(text.erased for text in run.texts) - sum(text.erased for text in doubtful)
    if not doubtful:
        return count
    # Somebody may have erased while the files were read: now nobody does.
    with copying(case, PATIENCE_S):
        said = said_erased(case, run.name)
        for text in doubtful:
            gone, meant = _is_gone(text), _is_said(said, text)
            if gone and meant:
                count += 1
            elif gone != meant:
                run.findings.append(_finding(case, run, text, gone=gone))
    return count


def _is_said(said: list[TextsErased], text: Text) -> bool:
    return any(one.covers(text.producer, text.seq) for one in said)


def _is_gone(text: Text) -> bool:
    with text.segment.heads.open("rb") as file:
        file.seek(text.offset)
        header = file.read(HEADER.size)
        end = claimed_end(header, 0) or HEADER.size
        frame, _ = decode_frame(header + file.read(end - HEADER.size))
    return erased(frame) == frame


def _finding(case: Case, run: RunEvidence, text: Text, *, gone: bool) -> Violation:
    if gone:
        kind = "bad_digest"
        what = (
            "its words do not have their salted digest: they were overwritten, and no erasure is "
            "on record"
        )
    else:
        kind = "unerased"
        what = (
            "its words were to be erased, and are there: the erasure was cut short, or an older "
            "copy was put back. `roundlog erase` finishes it"
        )
    file = str(text.segment.heads.relative_to(case.path))
    detail = f"event {text.id}: {what}"
    return Violation(kind, run.name, file, text.round, detail, text.offset)
