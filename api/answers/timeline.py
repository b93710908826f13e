"""What happened to a run, and, beside a trigger, which release shipped it?

Without a trigger nothing here rebuilds a model; torch is imported where one is given.
"""

from api.documents import Document
from api.parameters import CrossingsParams, TimelineParams
from api.records import Progress, Records
from forensics.timeline import Entry, crossing_entries, lay_out
from roundlog.errors import QuestionError


def timeline(records: Records, params: TimelineParams, progress: Progress) -> Document:
    """Facts, oldest round first; with a trigger also its crossings and the blast radius."""
    run = records.run(params.run)
    if params.trigger is None:
        return {"run": run, "entries": [one.document() for one in lay_out(records.store, run)]}
    # Probing imports torch, and scipy for the intervals.
    from api.answers.triggers import measure_crossings, trigger_meant
    from forensics.blast import measure_blast
    from forensics.onset import find_onset, onset_entries
    from forensics.probe import Prober
    from forensics.rebuild import CaseModels

    trigger = trigger_meant(records, params.trigger)
    asked = CrossingsParams(**{**params.model_dump(), "run": run})
    crossings = measure_crossings(records, asked, progress)
    models = CaseModels(records.case, records.store, run, params.artefact)
    prober = Prober(models.architecture, params.model)
    beside = list(crossing_entries(crossings.document()))
    pushed_from = onset = None
    try:
        # Steps are recorded of the master weights, whatever form of them devices run.
        master = CaseModels(records.case, records.store, run)
        dated = find_onset(master, records.store, prober, trigger, decoys=0, progress=progress)
        onset = dated.document()["onset"]
        pushed_from = None if dated.found is None else dated.found.low
        beside += onset_entries(dated)
    except QuestionError as error:
        # Without published honest data nothing can be dated; the rest stands.
        beside.append(Entry(models.first, "note", f"no onset can be told: {error}"))
    blast = measure_blast(
        models,
        records.store,
        prober,
        trigger,
        params.levels,
        crossings.floor,
        pushed_from,
    )
    beside += blast.entries()
    return {
        "run": run,
        "trigger": trigger.name,
        "artefact": models.artefact,
        "entries": [one.document() for one in lay_out(records.store, run, tuple(beside))],
        "onset": onset,
        "releases": blast.releases(),
        "blast_radius": blast.document(),
    }
