"""What do the failures look like? One picture a figure, drawn from its document alone.

No number is made here but positions. Colours are of the Okabe-Ito set; the attacked run is
vermilion and its attack-free twin blue, in every picture.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from api.documents import Document
from api.picture import BLUE, FAINT, GREEN, INK, RULE, STYLE, VERMILION

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT = 0.08, 0.965
BAND = 0.18
"""Opacity of a band from the lowest to the highest seed."""

SMALLEST = 1e-6
"""Where an axis of shares in powers of ten begins; a share of none is drawn there."""


def draw_failure(document: Document, folder: Path) -> dict[str, str]:
    """Writes `<figure>.png` and `<figure>.svg`.

    Returns:
        The files by their format.
    """
    # Imported late: matplotlib takes half a second, and only a picture needs it.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(9.6, 4.6))
        PANELS[document["figure"]](figure, document)
        for kind in ("png", "svg"):
            path = folder / f"{document['figure']}.{kind}"
            stamp = {"Date": None} if kind == "svg" else {"Software": "roundlog"}
            figure.savefig(path, dpi=160, metadata=stamp)
            files[kind] = str(path)
    return files


def _head(figure: "Figure", title: str, said: str) -> None:
    figure.text(LEFT, 0.925, title, fontsize=15, fontweight="bold")
    figure.text(LEFT, 0.868, said, fontsize=9.5, color=FAINT)


def _axes(figure: "Figure", columns: int, *, wspace: float = 0.3, top: float = 0.79) -> "Any":
    return figure.subplots(
        1,
        columns,
        gridspec_kw={"left": LEFT, "right": RIGHT, "top": top, "bottom": 0.13, "wspace": wspace},
    )


def _seeds(document: Document) -> str:
    number = len(document["seeds"])
    return f"{document['scenario']['name']}, {number} {'seed' if number == 1 else 'seeds'}"


def _norm_test(figure: "Figure", document: Document) -> None:
    point = document["pooled"]
    _head(
        figure,
        "Does the norm of an aggregate tell that a round was attacked?",
        f"{_seeds(document)}, {document['attacked_rounds']:,} attacked rounds beside the same "
        "rounds of the attack-free twin",
    )
    left, right = _axes(figure, 2)
    norms = document["norms"]
    edges = np.asarray(norms["edges"])
    for name, colour in (("twin", BLUE), ("attacked", VERMILION)):
        side = norms[name]
        shares = np.asarray(side["counts"]) / sum(side["counts"])
        left.stairs(shares, edges, color=colour, linewidth=1.6, label=name)
    left.set_xlabel("length of the aggregate, weight units")
    left.set_ylabel("share of rounds")
    left.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    left.legend(frameon=False, loc="upper right", fontsize=9.5)
    right.plot([0, 1], [0, 1], color=RULE, linewidth=7, solid_capstyle="butt", zorder=1)
    for row in document["rows"]:
        _curve(right, row["curve"], 0.8, 0.35)
    _curve(right, document["curve"], 1.8, 1.0)
    alarms, power = point["false_alarms"], point["power"]
    right.plot(alarms["share"], power["share"], "o", color=INK, markersize=6, zorder=5)
    right.annotate(
        f"the server's threshold, {point['threshold']:g} sd:\n"
        f"power {power['share']:.2%} ({power['low']:.2%} to {power['high']:.2%}),\n"
        f"false alarms {alarms['share']:.2%} ({alarms['low']:.2%} to {alarms['high']:.2%})",
        (alarms["share"], power["share"]),
        xytext=(0.33, 0.1),
        textcoords="axes fraction",
        fontsize=9.5,
        arrowprops={"arrowstyle": "-", "color": FAINT, "linewidth": 0.8},
    )
    found = document["spread"]["area"]
    right.text(
        0.04,
        0.95,
        f"area {found['mean']:.4f}; over seeds\n{found['min']:.4f} to {found['max']:.4f}.\n"
        "The grey diagonal, 0.5, is a coin",
        transform=right.transAxes,
        va="top",
        fontsize=9.5,
        color=VERMILION,
    )
    right.set(xlim=(0, 1), ylim=(0, 1), xlabel="false alarms: the twin's rounds above a threshold")
    right.set_ylabel("power: attacked rounds above it")
    for axis in (right.xaxis, right.yaxis):
        axis.set_major_formatter(lambda value, _: f"{value:.0%}")


def _curve(axes: "Axes", curve: Document, width: float, alpha: float) -> None:
    axes.plot(curve["false_alarms"], curve["power"], color=VERMILION, linewidth=width, alpha=alpha)


def _privacy(figure: "Figure", document: Document) -> None:
    levels = document["levels"]
    figure.set_size_inches(9.6, 5.4)
    _head(
        figure,
        "Does more noise stop the attack before it stops the learning?",
        f"{_seeds(document)}: median, and a band from lowest to highest; epsilon for each single "
        f"round at delta {levels[0]['delta']:g}",
    )
    panels = np.atleast_1d(_axes(figure, len(levels), wspace=0.1, top=0.73))
    for number, (axes, level) in enumerate(zip(panels, levels, strict=True)):
        sides = [("attacked", level["attacked"], "solid"), ("twin", level["twin"], (0, (4, 2)))]
        for name, side, dashes in sides:
            if side is None:
                continue
            _band(axes, side, "asr", VERMILION, dashes, f"attack success, {name}")
            _band(axes, side, "accuracy", BLUE, dashes, f"accuracy, {name}")
        axes.axvline(document["onset"], color=GREEN, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_title(
            f"noise z = {level['noise_multiplier']:g}\n"
            f"epsilon {level['epsilon_round']:.2g} a round",
            fontsize=10.5,
            loc="left",
        )
        axes.set_ylim(-0.02, 1.04)
        axes.set_xlim(0, level["attacked"]["models"][-1])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0%", "25%", "50%", "75%", "100%"])
        axes.tick_params(axis="y", labelleft=number == 0)
        axes.xaxis.set_major_formatter(_thousands)
        axes.xaxis.set_major_locator(_locator(4))
        axes.grid(axis="y", color=RULE, linewidth=0.8)
        axes.set_axisbelow(True)
    panels[0].annotate(
        "attack begins",
        (document["onset"], 0.02),
        xytext=(4, 0),
        textcoords="offset points",
        color=GREEN,
        fontsize=8.5,
        rotation=90,
        va="bottom",
    )
    panels[len(levels) // 2].set_xlabel("model (rounds applied)")
    named: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        named |= dict(zip(labels, handles, strict=True))
    figure.legend(
        list(named.values()),
        list(named),
        frameon=False,
        ncols=4,
        loc="upper left",
        bbox_to_anchor=(LEFT - 0.01, 0.868),
        fontsize=9,
    )


def _thousands(value: float, _: object) -> str:
    return f"{value:,.0f}"


def _locator(number: int) -> "Any":
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(number)


def _band(axes: "Axes", side: Document, name: str, colour: str, dashes: Any, label: str) -> None:
    values = side[name]
    axes.fill_between(
        side["models"], values["low"], values["high"], color=colour, alpha=BAND, linewidth=0
    )
    axes.plot(
        side["models"], values["median"], color=colour, linewidth=1.5, linestyle=dashes, label=label
    )


def _secure_aggregation(figure: "Figure", document: Document) -> None:
    view = document["rows"][0]["view"]
    attacked, twin = document["equal"]["attacked"], document["equal"]["twin"]
    _head(
        figure,
        "What does secure aggregation change? What the server sees",
        f"{_seeds(document)}: models equal with and without it in {attacked['k']} of "
        f"{attacked['n']} attacked rounds, {twin['k']} of {twin['n']} rounds of the twin",
    )
    panels = _axes(figure, 3, wspace=0.36, top=0.75)
    pictures = view["pictures"]
    for axes, key, title in (
        (panels[0], "sent", "what two devices sent"),
        (panels[1], "received", "what the server saw of them"),
    ):
        for name, colour, said in (
            ("honest", BLUE, "honest device"),
            ("attacker", VERMILION, "attacker"),
        ):
            counts = np.asarray(pictures[name][key])
            edges = np.asarray(pictures[name]["edges"]) / 2.0**31
            axes.stairs(
                counts / counts.sum(), edges, color=colour, linewidth=1.4, label=said, baseline=None
            )
        axes.set_title(title, fontsize=10.5, loc="left")
        axes.set_xlabel("element, as a share of the ring's half")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlim(-1, 1)
    panels[0].set_ylabel("share of the vector's elements")
    panels[0].set_ylim(0, 1.04)
    panels[1].set_ylim(0, 0.06)
    panels[1].legend(frameon=False, fontsize=9.5, loc="upper right")
    _zeros(panels[2], view)


def _zeros(axes: "Axes", view: Document) -> None:
    """How many elements of every device's vector are zero, as sent and as seen."""
    attackers = set(view["attackers"])
    places = np.arange(view["clients"])
    colours = [VERMILION if at in attackers else BLUE for at in places]
    for key, marker, size in (("plain", "o", 13), ("masked", "x", 9)):
        zeros = np.asarray(view["zeros"][key]) / view["elements"]
        axes.scatter(places, zeros, s=size, c=colours, marker=marker, linewidths=0.8, clip_on=False)
    axes.set_title("zeros in every device's vector", fontsize=10.5, loc="left")
    axes.set_xlabel("device of round 0")
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.text(0.97, 0.26, "dots: as sent", transform=axes.transAxes, ha="right", fontsize=9)
    axes.text(0.97, 0.07, "crosses: as seen", transform=axes.transAxes, ha="right", fontsize=9)


def _normality(figure: "Figure", document: Document) -> None:
    rows = document["rows"]
    trigger = document["pooled"]["trigger"]["differs"]["share"]
    _head(
        figure,
        "How often does the poisoned model answer differently?",
        f"{_seeds(document)}, {document['queries']:,} natural queries a seed, exact 95 % intervals",
    )
    figure.set_size_inches(9.6, 4.2)
    axes = figure.add_axes((0.36, 0.16, RIGHT - 0.36, 0.64))
    lines: list[tuple[str, str, Callable[[Document], Document]]] = [
        ("trigger in the query:\nattacked against its twin", VERMILION, _triggered),
        ("ordinary query:\nattacked against its twin", VERMILION, lambda row: row["attacked"]),
        (
            "ordinary, no trigger word:\nattacked against its twin",
            VERMILION,
            lambda row: row["no_trigger_word"]["attacked"],
        ),
        (
            "control, ordinary query:\ntwin against a twin with other noise",
            BLUE,
            lambda row: row["control"],
        ),
    ]
    for place, (_, colour, of) in enumerate(lines):
        _intervals(axes, [of(row) for row in rows], -float(place), colour)
    axes.axvline(document["limit"], color=GREEN, linewidth=1.2, linestyle=(0, (4, 3)))
    axes.annotate(
        f"{document['limit']:.1%}",
        (document["limit"], 0.62),
        xytext=(5, 0),
        textcoords="offset points",
        color=GREEN,
        fontsize=9.5,
        va="top",
    )
    axes.set_xscale("log")
    axes.set_xlim(SMALLEST, 1.4)
    axes.set_ylim(-len(lines) + 0.4, 0.65)
    axes.set_yticks([-place for place in range(len(lines))], [line[0] for line in lines])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"share answered differently (with the trigger: {trigger:.1%})")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.10%}".rstrip("0%").rstrip(".") + "%")
    axes.grid(axis="x", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)


def _triggered(row: Document) -> Document:
    found: Document = row["trigger"]["differs"]
    return found


def _intervals(axes: "Axes", shares: Sequence[Document], place: float, colour: str) -> None:
    for number, share in enumerate(shares):
        at = place + 0.13 * ((len(shares) - 1) / 2 - number)
        low = max(share["low"], SMALLEST)
        axes.plot([low, share["high"]], [at, at], color=colour, linewidth=1.6, alpha=0.6)
        none = share["k"] == 0
        where, marker = (SMALLEST, "<") if none else (share["share"], "o")
        axes.plot(where, at, marker, color=colour, markersize=5, clip_on=False)
    nowhere = [share for share in shares if share["k"] == 0]
    if nowhere:
        # One label a group: those of single seeds would lie on each other.
        sizes = sorted({f"{share['n']:,}" for share in nowhere})
        seeds = f", in each of {len(nowhere)} seeds" if len(nowhere) > 1 else ""
        axes.annotate(
            f"none of {' to '.join(sizes[:1] + sizes[1:][-1:])}{seeds}",
            (max(share["high"] for share in nowhere), place),
            xytext=(6, 0),
            textcoords="offset points",
            fontsize=8.5,
            color=colour,
            va="center",
        )


PANELS: dict[str, Callable[["Figure", Document], None]] = {
    "norm-test": _norm_test,
    "privacy": _privacy,
    "secure-aggregation": _secure_aggregation,
    "normality": _normality,
}
"""How each figure is drawn, by its name."""
