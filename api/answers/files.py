"""Which answers are also files? Rounds as Arrow, Parquet, CSV or NDJSON; a model as safetensors."""

from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from api.answers.record import rounds_frame
from api.parameters import Params, RebuildParams, RoundsParams
from api.records import Records
from api.rounds import parse_round
from forensics.rebuild import CaseModels
from roundlog.errors import QuestionError

ARROW = "application/vnd.apache.arrow.stream"
PARQUET = "application/vnd.apache.parquet"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
SAFETENSORS = "application/vnd.safetensors"

FILES: dict[str, tuple[str, ...]] = {
    "rounds": (NDJSON, ARROW, PARQUET, CSV),
    "rebuild": (SAFETENSORS,),
}
"""Media types in which a question answers besides JSON."""


def as_file(name: str, records: Records, params: Params, media_type: str) -> bytes:
    """The answer in that media type.

    Raises:
        QuestionError: The question has no such answer.
    """
    if isinstance(params, RoundsParams) and media_type in FILES["rounds"]:
        return encode_frame_as(rounds_frame(records, params)[1], media_type)
    if isinstance(params, RebuildParams) and media_type == SAFETENSORS:
        return safetensors(records, params)
    raise QuestionError(f"{name} is not answered as {media_type}")


def encode_frame_as(frame: pl.DataFrame, media_type: str) -> bytes:
    """A frame in one of polars' own formats."""
    buffer = BytesIO()
    if media_type == ARROW:
        frame.write_ipc_stream(buffer)
    elif media_type == PARQUET:
        frame.write_parquet(buffer)
    elif media_type == CSV:
        frame.write_csv(buffer)
    else:
        frame.write_ndjson(buffer)
    return buffer.getvalue()


def safetensors(records: Records, params: RebuildParams) -> bytes:
    """W_t, or what devices run in its place, as a safetensors file, if it is the recorded one.

    Raises:
        DigestMismatchError: It is not; such a model leaves through no door.
    """
    models = CaseModels(records.case, records.store, records.run(params.run), params.artefact)
    t = parse_round(params.round, models.last, first=models.first, what="model")
    rebuilt = models.whole(t)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        models.write(rebuilt, path)
        return path.read_bytes()
