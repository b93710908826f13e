"""How is the demo's result told in plain words? Every number is one of the document's."""

from api.cli.output import count, percent, table
from api.documents import Document

READINGS = ("first", "sustained", "last", "isotonic")


def tell(document: Document) -> str:
    """The story, with its numbers."""
    parts = [_setting(document), _filter(document), _found(document), _proof(document)]
    if "twin" in document:
        parts.append(_twin(document))
    parts.append(_files(document))
    return "\n\n".join(parts)


def _part(title: str, *lines: str) -> str:
    """A title and what stands under it."""
    return "\n".join([title, *(f"  {line}" for line in lines)])


def _setting(document: Document) -> str:
    mine, incident = document["simulated"], document["incident"]
    factor = mine["fraction"] / incident["fraction"]
    faster = incident["rounds"] / mine["rounds"]
    onset = document["ground_truth"]["onset"]
    return _part(
        "What happened (ground truth, which an investigator does not have)",
        f"An adversary held {percent(mine['fraction'])} of the devices and sent poisoned "
        f"updates from round {onset:,} on.",
        f"The incident: {percent(incident['fraction'])} of the devices over "
        f"{incident['rounds']:,} rounds. Here: {factor:.0f} times the devices in "
        f"{mine['rounds']:,} rounds, {faster:.0f} times faster.",
        f"{count(mine['malicious'], 'poisoned update')} were clipped, averaged with honest ones, "
        f"and covered with central noise; the record holds those averages only.",
    )


def _filter(document: Document) -> str:
    before, after = document["norm_test"]["before"], document["norm_test"]["after"]
    return _part(
        "What the server's norm test saw",
        f"before the attack it rejects {_share(before)} of the rounds, under attack "
        f"{_share(after)}: " + _verdict(before, after),
    )


def _share(test: Document) -> str:
    if not test["judged"]:
        return "none"
    share = test["rejected"] / test["judged"]
    return f"{percent(share)} ({test['rejected']:,} of {test['judged']:,})"


def _verdict(before: Document, after: Document) -> str:
    if not before["judged"] or not after["judged"]:
        return "too few rounds to compare."
    one, two = (test["rejected"] / test["judged"] for test in (before, after))
    # Within a percent of each other nobody would look up, whatever the exact figures.
    return "no round looks odd." if two - one < 0.01 else "it noticed something."


def _found(document: Document) -> str:
    by_level: dict[float, Document] = {}
    for row in document["crossings"]:
        by_level.setdefault(row["level"], {})[row["mode"]] = row
    zones = {row["level"]: row for row in document["search"] if row["mode"] == "sustained"}
    onset = document["ground_truth"]["onset"]
    rows = []
    for level, readings in by_level.items():
        sustained, zone = readings["sustained"], zones.get(level)
        after = None if sustained["round"] is None else sustained["round"] - onset
        place = "–"
        if zone is not None and zone["low"] is not None:
            place = f"{zone['low']:,} to {zone['high']:,}"
        shown = [readings[name]["round"] for name in READINGS]
        rows.append((percent(level), sustained["status"], *shown, after, place))
    head = ("success", "status", *READINGS, "after onset", "searched zone")
    exact = document["crossings"][0]
    searched = max((row["rebuilds"] for row in document["search"]), default=0)
    body = table(rows, head).replace("\n", "\n  ")
    return _part(
        "What the record says: models at which the trigger's success crossed each level",
        f"{body}",
        f"Exact: all {exact['rebuilds']:,} models rebuilt and asked. Sustained: it held over "
        f"{exact['s']:,} models.",
        f"Searched zone: what {searched} rebuilt models tell about the sustained crossing.",
        f"Decoy triggers that nobody attacked with reach at most "
        f"{percent(document['decoys_reach'])}.",
    )


def _proof(document: Document) -> str:
    verdict = document["verify"]
    matching = sum(one["matches"] for one in document["rebuilt"])
    state = "whole and unaltered" if verdict["ok"] else "NOT whole: see `roundlog verify`"
    return _part(
        "Why it can be believed",
        f"{matching} of {len(document['rebuilt'])} models rebuilt one by one have their "
        f"recorded digest, bit for bit.",
        f"verify: {verdict['rounds']:,} rounds in {verdict['events']:,} events are {state}; "
        f"every model was folded again.",
    )


def _twin(document: Document) -> str:
    return _part(
        "The twin: the same seed, nobody attacks",
        f"the same trigger reaches at most {percent(document['twin']['highest_success'])} "
        f"there, {percent(document['highest_success'])} here.",
    )


def _files(document: Document) -> str:
    files = document["files"]
    case = files["case"]
    made = _part(
        f"All of it took {document['seconds']:.0f} s. The files:",
        f"{files['png']}  the picture (and {files['svg']})",
        f"{case}  the case",
        f"{files['truth']}  the ground truth, a trigger file too",
    )
    return f"{made}\n\n" + _part(
        "Ask it yourself:",
        f"roundlog crossings {case} --trigger {files['truth']} --levels 0.5",
        f"roundlog bisect {case} --trigger {files['truth']}",
        f"roundlog serve {case}",
    )
