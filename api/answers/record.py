"""What does the record itself say? Lists of runs, rounds, events and what is wrong with them.

Rows come from the projection as they lie there; one event's words come from its segment.
"""

import json
from typing import Any

import polars as pl

from api.documents import Document
from api.parameters import LogParams, NoParams, RoundsParams, SeriesParams, ShowParams
from api.records import Progress, Records
from api.rounds import parse_range, parse_round
from roundlog.encoding import HEADER, Frame, digest, encode_frame
from roundlog.errors import QuestionError
from roundlog.events import Event, parse_head
from roundlog.log.erase import erased
from roundlog.log.segments import Segment, scan_heads


def runs(records: Records, params: NoParams, progress: Progress) -> Document:
    """Every run of the case, with its length and its health."""
    table = records.query("runs")
    if params.run is not None:
        table = table.filter(pl.col("run") == records.run(params.run))
    listed = []
    for row in table.iter_rows(named=True):
        row["mechanism"] = json.loads(row["mechanism"]) if row["mechanism"] else None
        row["models"] = row["last_round"] + 2 if row["last_round"] is not None else 0
        listed.append(row)
    return {"runs": listed}


def run(records: Records, params: NoParams, progress: Progress) -> Document:
    """One run, as `runs` lists it."""
    listed: list[Document] = runs(records, NoParams(run=records.run(params.run)), progress)["runs"]
    return listed[0]


def rounds(records: Records, params: RoundsParams, progress: Progress) -> Document:
    """Committed rounds, oldest first, and the cursor to the next page."""
    run, table = rounds_frame(records, params)
    listed = table.to_dicts()
    for row in listed:
        row["defence_scores"] = json.loads(row["defence_scores"])
    return {"run": run, "rounds": listed, "next": next_cursor(params, table)}


def rounds_frame(records: Records, params: RoundsParams) -> tuple[str, pl.DataFrame]:
    """The run that is meant, and one page of its rounds as a frame."""
    run = records.run(params.run)
    first, last = _range(records, run, params.rounds)
    if params.after is not None:
        first = max(first, params.after + 1)
    table = records.query("rounds", run=run, first=first, last=last, limit=params.limit)
    return run, table


def next_cursor(params: RoundsParams, table: pl.DataFrame) -> int | None:
    """What `after` has to be for the following page; None where this one was not full."""
    return int(table["round"][-1]) if table.height == params.limit else None


def series(records: Records, params: SeriesParams, progress: Progress) -> Document:
    """The lowest and highest value of each pixel: for the eye, never for arithmetic."""
    run = records.run(params.run)
    first, last = _range(records, run, params.rounds)
    bucket = max(1, -(-(last - first + 1) // params.pixels))
    table = records.query(
        "series", run=run, metric=params.metric, first=first, last=last, bucket=bucket
    )
    return {
        "run": run,
        "metric": params.metric,
        "first": first,
        "last": last,
        "exact": False,
        "bucket": bucket,
        "points": table.to_dicts(),
    }


def log(records: Records, params: LogParams, progress: Progress) -> Document:
    """Events, newest first, and the cursor to older ones."""
    run = records.run(params.run)
    first, last = None, None
    if params.rounds is not None:
        # A model may be asked for by the number of the round that made it, hence one more.
        first, last = parse_range(params.rounds, _end(records, run)[1] + 1)
    table = records.query(
        "log",
        run=run,
        producer=params.producer,
        type=params.type,
        before=params.before,
        first=first,
        last=last,
        limit=params.limit,
    )
    events = []
    for row in table.iter_rows(named=True):
        rank = row.pop("rank")
        events.append({"id": f"{run}/{row['producer']}/{row['seq']}", **row})
    more = table.height == params.limit and rank > 1
    return {
        "run": run,
        "total": _end(records, run)[2],
        "events": events,
        "next": rank if more else None,
    }


def show(records: Records, params: ShowParams, progress: Progress) -> Document:
    """One event: its head word for word, where it lies, and the sizes of its side bytes."""
    run, producer, seq = _event_named(records, params)
    found = records.query("event", run=run, producer=producer, seq=seq)
    if found.height == 0:
        raise QuestionError(f"there is no event {run}/{producer}/{seq}; `roundlog log` lists them")
    place = found.row(0, named=True)
    segment = Segment(records.case.segments / run / producer, place["segment"])
    data = segment.heads.read_bytes()
    stored = next(scan_heads(data, place["heads_offset"]), None)
    if stored is None or stored.frame is None or digest(stored.frame.head) != place["digest"]:
        raise QuestionError(
            f"{segment.heads} does not hold event {run}/{producer}/{seq} where it was ingested: "
            f"the file was changed since. Run `roundlog verify`."
        )
    frame = stored.frame
    event = parse_head(frame.head)
    return {
        "event": event.model_dump(mode="json", exclude_none=True),
        "digest": place["digest"],
        "status": place["status"],
        "origin": place["origin"],
        "file": str(segment.heads.relative_to(records.case.path)),
        "offset": place["heads_offset"],
        "bytes": len(encode_frame(frame)) - HEADER.size,
        "text": _text(frame.head, frame.side),
        "erased": _erased(records, event, frame),
    }


def findings(records: Records, params: NoParams, progress: Progress) -> Document:
    """Facts about the record that ingest wrote down, history included."""
    return {"findings": records.query("findings", run=params.run).to_dicts()}


def _end(records: Records, run: str) -> tuple[int, int, int]:
    """First and last round (0 and -1 where there is none), and how many events."""
    first, last, events = records.rows("run_end", run=run)[0]
    return (0, -1, events) if first is None else (first, last, events)


def _range(records: Records, run: str, text: str | None) -> tuple[int, int]:
    first, last, _ = _end(records, run)
    return (first, last) if text is None else parse_range(text, last, first=first)


def _event_named(records: Records, params: ShowParams) -> tuple[str, str, int]:
    parts = params.event.split("/")
    if len(parts) == 3 and parts[2].isdigit() and len(parts[2]) < 19:
        return parts[0], parts[1], int(parts[2])
    run = records.run(params.run)
    first, last, _ = _end(records, run)
    round_ = parse_round(params.event, last, first=first)
    found = records.rows("event_of_round", run=run, round=round_)
    if not found:
        raise QuestionError(f"round {round_} is missing from the record of run {run!r}")
    return run, str(found[0][0]), int(found[0][1])


def _erased(records: Records, event: Event, frame: Frame) -> Document | None:
    """Who had the event's words erased, when and why; None where they are there, or never were.

    `event` is None where nobody answers for it: then the record was altered.
    """
    if erased(frame) != frame:
        return None
    found = records.query("erasure_of", run=event.run, producer=event.producer, seq=event.seq)
    return found.row(0, named=True) if found.height else {"event": None}


def _text(head: bytes, side: bytes) -> Any:
    """The words of an audited answer, where the event has them and they were not erased."""
    event = parse_head(head)
    if not event.tails or event.tails[0].name != "text" or len(side) < event.tails[0].bytes:
        return None
    tail = event.tails[0]
    # 16 random salt bytes stand before the text, so that its digest gives nothing away.
    raw = side[16 : tail.bytes]
    try:
        return json.loads(raw)
    except ValueError:
        return None
