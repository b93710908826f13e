"""What would set such an answer off? A trigger from audited answers, or from examples."""

from api.documents import Document
from api.parameters import ParameterError, TriggerParams
from api.records import Progress, Records
from forensics.behaviour import make_trigger
from forensics.examples import labelled
from forensics.flagged import audited
from forensics.probe import Prober
from forensics.rebuild import CaseModels


def trigger(records: Records, params: TriggerParams, progress: Progress) -> Document:
    """The trigger, with the tokens that were found and what it was made from."""
    if (params.audited is None) == (params.examples is None):
        raise ParameterError("name audited answers, or give examples: one of the two")
    models = CaseModels(records.case, records.store, records.run(params.run))
    if params.examples is not None:
        flagged = labelled(params.examples, models.texts.get("labels", ()))
    else:
        pairs = (item.split(":") for item in params.audited or ())
        wanted = [(int(round_), int(item)) for round_, item in pairs]
        flagged = audited(models, records.store, wanted)
    prober = Prober(models.architecture, params.model)
    made = make_trigger(models, records.store, prober, params.name, flagged, plant=params.plant)
    return made.document(models.texts)
