"""What does the poisoning look like? One picture: success over rounds, crossings, and drift.

Draws what it is given; no number is made here. Colours are of the Okabe-Ito set, which people with
any colour vision tell apart, and every line carries its own label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, FAINT, RULE = "#222222", "#6b6b6b", "#d9d9d9"
VERMILION, BLUE, GREEN = "#d55e00", "#0072b2", "#009e73"

STYLE: dict[str, object] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    # The same picture from the same numbers, byte for byte; text that a reader can search.
    "svg.hashsalt": "roundlog",
    "svg.fonttype": "none",
}


@dataclass(frozen=True)
class Chart:
    """The numbers of the picture."""

    title: str
    subtitle: str
    first: int
    """t of the first model."""
    asr: Sequence[float]
    """Success of every model, one after the other."""
    drift: Sequence[tuple[int, float]]
    """(t, distance from the first model)."""
    crossings: Mapping[float, int]
    """For each level, the model of its sustained crossing."""
    zones: Mapping[float, tuple[int, int]]
    """For each level, the zone that a search found."""
    levels: Sequence[float]
    searched: int = 0
    """Models at most that the search asked for one level."""
    onset: int | None = None
    """Ground truth: the first round with poisoned updates."""
    formats: tuple[str, ...] = field(default=("png", "svg"))


def draw(chart: Chart, stem: Path) -> dict[str, Path]:
    """Writes `stem.png` and `stem.svg`.

    Returns:
        The files by their format.
    """
    # Imported late: matplotlib takes half a second, and only a picture needs it.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(9.6, 6.4))
        _panels(figure, chart)
        files = {}
        for kind in chart.formats:
            files[kind] = stem.with_suffix(f".{kind}")
            stamp = {"Date": None} if kind == "svg" else {"Software": "roundlog"}
            figure.savefig(files[kind], dpi=160, metadata=stamp)
    return files


def _panels(figure: "Figure", chart: Chart) -> None:
    upper, lower = figure.subplots(
        2,
        1,
        sharex=True,
        gridspec_kw={
            "height_ratios": (3.1, 1),
            "hspace": 0.16,
            "left": 0.085,
            "right": 0.965,
            "top": 0.865,
            "bottom": 0.085,
        },
    )
    figure.text(0.085, 0.945, chart.title, fontsize=16, fontweight="bold")
    figure.text(0.085, 0.905, chart.subtitle, fontsize=9.5, color=FAINT)
    last = chart.first + len(chart.asr) - 1
    upper.set_xlim(chart.first, max(last, chart.first + 1))
    _success(upper, chart)
    _movement(lower, chart)
    if chart.onset is not None:
        early = chart.onset < 0.6 * last
        for axes in (upper, lower):
            axes.axvline(chart.onset, color=GREEN, linewidth=1.2, linestyle=(0, (4, 3)))
        upper.annotate(
            f"attack begins: round {chart.onset:,}\n(ground truth)",
            (chart.onset, 1.03),
            xytext=(7 if early else -7, 0),
            textcoords="offset points",
            color=GREEN,
            fontsize=9.5,
            va="top",
            ha="left" if early else "right",
        )


def _success(axes: "Axes", chart: Chart) -> None:
    models = range(chart.first, chart.first + len(chart.asr))
    for level in chart.levels:
        axes.axhline(level, color=RULE, linewidth=0.8, zorder=0)
    axes.plot(models, chart.asr, color=VERMILION, linewidth=1.4, zorder=3)
    axes.set_ylim(-0.02, 1.06)
    axes.set_yticks(list(chart.levels), [f"{level:.0%}" for level in chart.levels])
    axes.set_ylabel("attack success")
    axes.tick_params(axis="x", length=0)
    for level, (low, high) in chart.zones.items():
        axes.plot(
            [low, high],
            [level, level],
            color=BLUE,
            linewidth=7,
            alpha=0.3,
            solid_capstyle="butt",
            zorder=2,
        )
    labelled = False
    for level, model in sorted(chart.crossings.items()):
        axes.plot(
            [model],
            [level],
            marker="o",
            markersize=7,
            color=INK,
            markeredgecolor="white",
            markeredgewidth=1.2,
            zorder=4,
        )
        said = f"{level:.0%} from model {model:,} on"
        axes.annotate(
            said,
            (model, level),
            xytext=(10, -4 if level > 0.02 else 7),
            textcoords="offset points",
            fontsize=9.5,
            va="top" if level > 0.02 else "bottom",
        )
        if not labelled and level in chart.zones and level >= 0.5:
            axes.annotate(
                f"blue: zone found by asking only {chart.searched} models",
                (chart.zones[level][1], level),
                xytext=(10, 7),
                textcoords="offset points",
                fontsize=9,
                color=BLUE,
            )
            labelled = True


def _movement(axes: "Axes", chart: Chart) -> None:
    models, moved = zip(*chart.drift, strict=True) if chart.drift else ((), ())
    axes.plot(models, moved, color=INK, linewidth=1.4)
    axes.set_ylabel("drift ‖W$_t$ − W$_0$‖")
    axes.set_xlabel("model (rounds applied)")
    axes.set_ylim(0, max(moved, default=1.0) * 1.12)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.grid(axis="y", color=RULE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.annotate(
        "the model moves before the attack too: drift alone proves nothing",
        (0.985, 0.09),
        xycoords="axes fraction",
        ha="right",
        fontsize=9,
        color=FAINT,
    )
