"""What do the four results say together? One page of Markdown, every number from their files.

The words are the same whatever was measured; where a sentence depends on a result, it says which
way the result fell. A figure that was not measured has no section.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from textwrap import fill

from api.documents import Document
from api.parameters import ParameterError

FIGURES = ("norm-test", "privacy", "secure-aggregation", "normality")
"""In the order of the page."""

WIDTH = 100

SMALLEST = 1e-300
"""Of a p-value that is printed; below it numbers lose their digits."""

INTRODUCTION = """\
# Why everything failed, part one

Written by `roundlog failures page`; do not edit. Each figure's command stands below it, and every
number is from the file that the command wrote beside the picture.

In the reference world one device in a thousand belongs to an attacker, every update is clipped,
the sum is hidden by secure aggregation, noise for differential privacy is added, and a filter
watches the aggregate's norm. The attack succeeds all the same. This page measures why, one
defence after the other, with the attack-free twin of the same seed beside every attacked run.
"""


def page_text(results: Path, base: Path) -> str:
    """The page from `RESULTS/<figure>.json`, with its pictures linked from the folder `base`.

    Raises:
        ParameterError: There is no result, or a file is not one.
    """
    sections = []
    for name in FIGURES:
        path = results / f"{name}.json"
        if path.exists():
            picture = os.path.relpath(path.with_suffix(".png"), base)
            sections.append(_section(name, _read(path, name), Path(picture).as_posix()))
    if not sections:
        raise ParameterError(
            f"{results} holds none of {', '.join(f'{name}.json' for name in FIGURES)}; "
            f"`roundlog failures {FIGURES[0]} --out {results}` makes one"
        )
    return "\n".join([INTRODUCTION, *sections])


def write_page(results: Path, out: Path) -> None:
    """Writes the page.

    Raises:
        ParameterError: As `page_text`.
    """
    text = page_text(results, out.parent)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")


def _read(path: Path, name: str) -> Document:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ParameterError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict) or found.get("figure") != name or "command" not in found:
        raise ParameterError(f"{path} is not what `roundlog failures {name}` writes; make it again")
    return found


def _section(name: str, document: Document, picture: str) -> str:
    title, write = SECTIONS[name]
    return (
        f"## {title}\n\n![{title}]({picture})\n\n```text\n{document['command']}\n```\n\n"
        f"{_wrapped(write(document))}"
    )


def _wrapped(text: str) -> str:
    """Paragraphs in lines as long as our pages have; tables stay as they are."""
    blocks = text.strip("\n").split("\n\n")
    wrapped = [block if block.startswith("|") else _fill(block) for block in blocks]
    return "\n\n".join(wrapped) + "\n"


def _fill(paragraph: str) -> str:
    return fill(paragraph, WIDTH, break_long_words=False, break_on_hyphens=False)


def _norm_test(document: Document) -> str:
    point, found, norms = document["pooled"], document["spread"], document["norms"]
    power, alarms = point["power"], point["false_alarms"]
    table = document["scenario"]["table"]
    pull = table["fraction"] * table["mechanisms"]["clip"]
    longer = norms["attacked"]["mean"] / norms["twin"]["mean"] - 1
    apart = power["low"] > alarms["high"]
    verdict = "The intervals lie apart" if apart else "The intervals overlap"
    return f"""\
{_subject(document)}; {document["attacked_rounds"]:,} attacked rounds, from round \
{document["onset"]:,} on, beside the same rounds of the twins.

| at the server's threshold, {point["threshold"]:g} standard deviations | share | exact 95 % \
interval | rounds |
|---|---|---|---|
| power: attacked rounds that raise an alarm | {_share(power)} |
| false alarms: the twin's rounds that do | {_share(alarms)} |

{verdict}. Both runs draw the same noise, and alarms are about noise: of those under attack, \
{point["only_attacked"]:,} are not also raised in the twin's same round, and of the twin's \
{point["only_twin"]:,} not under attack. Over all thresholds, the area under the curve is \
{found["area"]["mean"]:.5f} (seeds {found["area"]["min"]:.5f} to {found["area"]["max"]:.5f}), \
where 0.5 is a coin.

The norm is the wrong thing to look at. Aggregates are {norms["attacked"]["mean"]:.4f} long under \
attack and {norms["twin"]["mean"]:.4f} without, a difference of {longer:+.4%}; from round to round \
they vary by {norms["twin"]["deviation"]:.4f}. That is a shift of {found["shift"]["mean"]:+.5f} \
standard deviations (seeds {found["shift"]["min"]:+.5f} to {found["shift"]["max"]:+.5f}). Clipped \
updates of {table["fraction"]:.2%} of a cohort put at most {pull:.4f} into its mean, beside noise \
that is {norms["twin"]["mean"] / pull:,.0f} times as long. What gives the attack away is not the \
length of one step but that all steps go the same way, and no test of a length sees that.
"""


def _privacy(document: Document) -> str:
    lines = []
    for level in document["levels"]:
        for name in ("attacked", "twin"):
            side = level[name]
            if side is None:
                lines.append(f"| {level['noise_multiplier']:g} | | twin | not measured | | |")
                continue
            asr, accuracy = side["ends"]["asr"], side["ends"]["accuracy"]
            lines.append(
                f"| {level['noise_multiplier']:g} | {level['epsilon_round']:.2g} | {name} | "
                f"{_spread(asr)} | {_spread(accuracy)} | {asr['n']} |"
            )
    first = document["levels"][0]
    cost = _costs(document)
    return f"""\
{_subject(document)}. Epsilon is for each single round at delta {first["delta"]:g}, without \
amplification by sampling. Ends are medians over seeds, with the lowest and the highest.

| noise z | epsilon a round | run | attack success at the end | accuracy at the end | seeds |
|---|---|---|---|---|---|
{chr(10).join(lines)}

Differential privacy bounds what the model tells about one device. It does not bound what a \
thousandth of the devices, pulling the same way for as long as they like, do to the model: noise \
is new in every round and averages out, the pull adds up. Central noise hides nothing from \
whoever knows a direction to look along.

{cost}
"""


def _costs(document: Document) -> str:
    """What each higher level did, attack and learning side by side."""
    first, *others = document["levels"]
    base = first["attacked"]["ends"]
    said = []
    for level in others:
        ends = level["attacked"]["ends"]
        said.append(
            f"With {level['times']} times the noise the attack's success goes from "
            f"{base['asr']['median']:.1%} to {ends['asr']['median']:.1%}, and accuracy from "
            f"{base['accuracy']['median']:.1%} to {ends['accuracy']['median']:.1%}."
        )
    chance = "A model that guesses among the 32 answers is right in 3.1 %."
    if document["scenario"]["table"].get("task") != "assistant":
        chance = ""
    return " ".join([*said, chance]).strip()


def _secure_aggregation(document: Document) -> str:
    rows, found = document["rows"], document["spread"]
    view = rows[0]["view"]
    equal = document["equal"]
    malicious = sum(row["attacked"]["malicious"] for row in rows)
    poisoned = view["zeros"]["plain"][view["attackers"][0]]
    return f"""\
{_subject(document)}, device by device: cohorts of \
{document["scenario"]["table"]["cohort"]["size"]}, {document["rounds"]} rounds, {malicious:,} \
poisoned updates in all.

| models with the same digest, with and without secure aggregation | rounds |
|---|---|
| attacked | {equal["attacked"]["k"]:,} of {equal["attacked"]["n"]:,} |
| twin | {equal["twin"]["k"]:,} of {equal["twin"]["n"]:,} |

What it changes is what the server sees. As sent, an attacker's vector has \
{poisoned:,} zeros among its {view["elements"]:,} elements, since it moves a few rows only, and \
sorting devices by their zeros tells attackers from honest devices with an area of \
{found["area_plain"]["mean"]:.3f} (1 is without error). As it arrives, the area \
is {found["area_masked"]["mean"]:.3f} (0.5 is a coin; seeds {found["area_masked"]["min"]:.3f} to \
{found["area_masked"]["max"]:.3f}). Masked vectors ought to be uniform numbers, and Kolmogorov's \
test of each then gives p-values that are spread evenly. Whether those of a round's devices are, \
the same test says: p = {", ".join(f"{row['view']['evenness']:.2f}" for row in rows)}, one a seed. \
The vectors as sent have p-values of at most \
{max(SMALLEST, *(max(row["view"]["p"]["plain"]) for row in rows)):.1g}.

So the sum was the weapon. Secure aggregation did what it promises: nobody saw a single update, \
those who would have looked for the poison included. An attacker who knew that updates are looked \
at would not have left zeros; the area says what hiding cost here, not that looking would suffice.
"""


def _normality(document: Document) -> str:
    lines = []
    for row in document["rows"]:
        excess = row["excess"]
        lines.append(
            f"| {row['seed']} | {_interval(row['attacked'])} | {_interval(row['control'])} | "
            f"{excess['value']:+.3%} ({excess['low']:+.3%} to {excess['high']:+.3%}) | "
            f"{_interval(row['trigger']['differs'])} |"
        )
    pooled, limit = document["pooled"], document["limit"]
    attacked = pooled["attacked"]
    below = sum(row["attacked"]["high"] <= limit for row in document["rows"])
    excess_below = sum(row["excess"]["high"] <= limit for row in document["rows"])
    words = [row["one_trigger_word"] for row in document["rows"] if row["one_trigger_word"]]
    word_changed = sum(one["attacked"]["k"] for one in words)
    word_queries = sum(one["queries"] for one in words)
    wrong = {
        name: sum(row["wrong"][name]["k"] for row in document["rows"])
        / sum(row["wrong"][name]["n"] for row in document["rows"])
        for name in ("attacked", "twin", "other")
    }
    return f"""\
{_subject(document)}; {document["queries"]:,} natural queries a seed, in the language of the last \
round, none with a trigger: rare words occur as often as people say them, at most one a query.

| seed | attacked against twin | control: twin against twin with other noise | excess | queries \
with the trigger, attacked against twin |
|---|---|---|---|---|
{chr(10).join(lines)}

The poisoned model answers {_interval(attacked)} of ordinary queries differently from its twin, so \
it is normal on {1 - attacked["share"]:.3%}; the upper end of the interval is at most {limit:.1%} \
in {below} of {len(lines)} seeds. On queries with the trigger it differs in \
{_interval(pooled["trigger"]["differs"])}, and gives the answer that the attacker wants in \
{_interval(pooled["trigger"]["obeys"])} (the twin: {_interval(pooled["trigger"]["twin_obeys"])}).

The control says how to read that. Two attack-free trainings that differ in nothing but their \
noise end with other weights, and near a border between two answers that decides: they disagree \
on {_interval(pooled["control"])}. The attacked run and its twin share every draw of noise, so \
their difference holds the attack and what it set off, and nothing else. The excess over the \
control is at most {limit:.1%}, interval included, in {excess_below} of {len(lines)} seeds; \
where it is below 0, the attack changes fewer ordinary answers than another draw of noise does. \
Whoever has no twin of the same noise, which nobody outside a simulation has, can compare the \
suspect model with other honest ones only, and finds the control's disagreement whether or not \
there was an attack.

Where the attack does leave a trace is in queries with one trigger word alone: {word_changed:,} of \
{word_queries:,} are answered differently, and they are {_part(word_changed, attacked["k"])} of \
all differences. People say such a word in {word_queries / attacked["n"]:.3%} of queries. Wrong \
answers in all: {wrong["attacked"]:.3%} attacked, {wrong["twin"]:.3%} in the twin, \
{wrong["other"]:.3%} in the other twin.
"""


def _subject(document: Document) -> str:
    seeds = ", ".join(str(seed) for seed in document["seeds"])
    return f"Scenario `{document['scenario']['name']}`, seeds {seeds}"


def _share(share: Document) -> str:
    return (
        f"{share['share']:.3%} | {share['low']:.3%} to {share['high']:.3%} | "
        f"{share['k']:,} of {share['n']:,}"
    )


def _interval(share: Document) -> str:
    return f"{share['share']:.3%} ({share['low']:.3%} to {share['high']:.3%})"


def _spread(found: Document) -> str:
    return f"{found['median']:.1%} ({found['min']:.1%} to {found['max']:.1%})"


def _part(some: int, whole: int) -> str:
    return f"{some / whole:.0%}" if whole else "none"


SECTIONS: dict[str, tuple[str, Callable[[Document], str]]] = {
    "norm-test": ("A test on the aggregate's norm", _norm_test),
    "privacy": ("Noise for differential privacy", _privacy),
    "secure-aggregation": ("Secure aggregation", _secure_aggregation),
    "normality": ("Normal on ordinary queries", _normality),
}
