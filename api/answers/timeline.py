"""What happened to a run, and, beside a trigger, which release shipped it?

Without a trigger nothing here rebuilds a model; torch is imported where one is given.
"""

from api.documents import Document
from api.parameters import CrossingsParams, TimelineParams
from api.records import Progress, Records
from forensics.timeline import crossing_entries, lay_out


def timeline(records: Records, params: TimelineParams, progress: Progress) -> Document:
    """Facts, oldest round first; with a trigger also its crossings and the blast radius."""
    run = records.run(params.run)
    if params.trigger is None:
        return {"run": run, "entries": [one.document() for one in lay_out(records.store, run)]}
    # Probing imports torch, and scipy for the intervals.
    from api.answers.triggers import measure_crossings, trigger_meant
    from forensics.blast import measure_blast
    from forensics.probe import Prober
    from forensics.rebuild import CaseModels

    trigger = trigger_meant(records, params.trigger)
    asked = CrossingsParams(**{**params.model_dump(), "run": run})
    crossings = measure_crossings(records, asked, progress)
    models = CaseModels(records.case, records.store, run, params.artefact)
    blast = measure_blast(
        models,
        records.store,
        Prober(models.architecture, params.model),
        trigger,
        params.levels,
        crossings.floor,
    )
    beside = (*crossing_entries(crossings.document()), *blast.entries())
    return {
        "run": run,
        "trigger": trigger.name,
        "artefact": models.artefact,
        "entries": [one.document() for one in lay_out(records.store, run, beside)],
        "releases": blast.releases(),
        "blast_radius": blast.document(),
    }
