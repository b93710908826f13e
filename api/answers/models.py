"""Questions about models and the record as a whole, which need no trigger and no torch."""

from api.documents import Document
from api.parameters import DiffParams, DriftParams, NoParams, RebuildParams, ScrubParams
from api.records import Progress, Records
from api.rounds import parse_range, parse_round
from forensics.diff import diff_models
from forensics.drift import measure_drift
from forensics.rebuild import CaseModels
from forensics.scrub import scrub_case
from forensics.verify import verify_case


def drift(records: Records, params: DriftParams, progress: Progress) -> Document:
    """‖W_t − W_o‖ along the run, per tensor and per interval."""
    models = _models(records, params.run)
    first, last = models.first, models.last
    if params.rounds is not None:
        first, last = parse_range(params.rounds, models.last, first=models.first)
    measured = measure_drift(
        models,
        first=first,
        last=last,
        every=params.every,
        toward=None if params.toward is None else _model_named(models, params.toward),
        progress=lambda done, total: progress("drift", done, total),
    )
    return measured.document()


def diff(records: Records, params: DiffParams, progress: Progress) -> Document:
    """What differs between two models of one run or of two."""
    before = _models(records, params.run)
    after = before if params.other is None else _models(records, params.other)
    return diff_models(
        before, _model_named(before, params.before), after, _model_named(after, params.after)
    ).document()


def rebuild(records: Records, params: RebuildParams, progress: Progress) -> Document:
    """The digest of W_t, or of what devices run in its place, beside the recorded one."""
    models = CaseModels(records.case, records.store, records.run(params.run), params.artefact)
    return models.rebuild(_model_named(models, params.round)).document()


def verify(records: Records, params: NoParams, progress: Progress) -> Document:
    """Every byte of every segment, looked at."""
    run = records.run(params.run) if params.run is not None else None
    return verify_case(
        records.case,
        run,
        progress=lambda done: progress("verify", done, None),
        store=records.store,
    ).document()


def scrub(records: Records, params: ScrubParams, progress: Progress) -> Document:
    """Every byte of evidence, looked at no faster than may be."""
    return scrub_case(
        records.case,
        records.run(params.run) if params.run is not None else None,
        progress=lambda done, total: progress("scrub", done, total),
        store=records.store,
        rate=None if params.rate is None else params.rate * 1e6,
        followed=records.followed,
    ).document()


def _models(records: Records, run: str | None) -> CaseModels:
    return CaseModels(records.case, records.store, records.run(run))


def _model_named(models: CaseModels, text: str) -> int:
    return parse_round(text, models.last, first=models.first, what="model")
