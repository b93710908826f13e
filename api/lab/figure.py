"""What does a sweep look like? Attack success over rounds, one line a point, a band over seeds.

Draws what a sweep's document holds; no number is made here but medians of its paths.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from api.documents import Document
from api.lab.plan import point_label
from api.picture import FAINT, RULE, STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The Okabe-Ito colours that stand out on white; yellow does not.
COLOURS = ("#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#222222")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))

MOST_LINES = len(COLOURS) * len(DASHES)
"""Points that can be told apart in one picture; of more, the first so many are drawn."""

WORDS = 34
"""Letters of a legend's line; the picture's right third holds no more."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Line:
    """One point's paths over its seeds."""

    label: str
    models: Floats
    median: Floats
    low: Floats
    high: Floats
    seeds: int


def draw_sweep(document: Document, stem: Path) -> dict[str, Path]:
    """Writes `stem.png` and `stem.svg`.

    Returns:
        The files by their format; none where no point has a result.
    """
    # Imported late: matplotlib takes half a second, and only a picture needs it.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    drawn = lines(document)
    if not drawn:
        return {}
    files: dict[str, Path] = {}
    with mpl.rc_context(STYLE):  # type: ignore[arg-type]
        figure = Figure(figsize=(9.6, 5.4))
        _panel(figure, drawn[:MOST_LINES], len(drawn), document)
        for kind in ("png", "svg"):
            files[kind] = stem.with_suffix(f".{kind}")
            stamp = {"Date": None} if kind == "svg" else {"Software": "roundlog"}
            figure.savefig(files[kind], dpi=160, metadata=stamp)
    return files


def lines(document: Document) -> list[Line]:
    """The lines of the picture, in the order of the sweep's summary."""
    grouped: dict[str, list[Document]] = {}
    for row in document["rows"]:
        grouped.setdefault(point_label(row["point"]), []).append(row["path"])
    found = []
    for label, paths in grouped.items():
        # Seeds of one point have the same models, except where one of them was cut short.
        shortest = min(paths, key=lambda path: int(path["models"][-1]))
        models = np.asarray(shortest["models"], dtype=np.float64)
        asr = np.array([np.interp(models, path["models"], path["asr"]) for path in paths])
        low, median, high = np.min(asr, axis=0), np.median(asr, axis=0), np.max(asr, axis=0)
        found.append(Line(label, models, median, low, high, len(paths)))
    return found


def _panel(figure: "Figure", drawn: Sequence[Line], total: int, document: Document) -> None:
    left = 0.085
    axes = figure.add_axes((left, 0.115, 0.6, 0.71))
    name = document["scenario"]["name"]
    seeds = max(line.seeds for line in drawn)
    said = f"{name}, {seeds} {'seed' if seeds == 1 else 'seeds'} a point"
    if seeds > 1:
        said += ": median, and a band from lowest to highest"
    if total > len(drawn):
        said += f"; the first {len(drawn)} of {total} points"
    title = "How does attack success depend on the setting?"
    figure.text(left, 0.925, title, fontsize=15, fontweight="bold")
    figure.text(left, 0.873, said, fontsize=9.5, color=FAINT)
    for level in (0.1, 0.5, 0.9):
        axes.axhline(level, color=RULE, linewidth=0.8, zorder=0)
    # Many bands lie on top of each other near the bottom; faint ones still show their edges.
    alpha = 0.16 if len(drawn) <= 6 else 0.09
    for number, line in enumerate(drawn):
        colour = COLOURS[number % len(COLOURS)]
        if line.seeds > 1:
            axes.fill_between(
                line.models, line.low, line.high, color=colour, alpha=alpha, linewidth=0, zorder=1
            )
        axes.plot(
            line.models,
            line.median,
            color=colour,
            linewidth=1.6,
            linestyle=DASHES[number // len(COLOURS)],
            zorder=3,
            label=_short(line.label),
        )
    axes.set_xlim(float(drawn[0].models[0]), max(float(line.models[-1]) for line in drawn))
    axes.set_ylim(-0.02, 1.03)
    axes.set_yticks([0, 0.1, 0.5, 0.9, 1], ["0%", "10%", "50%", "90%", "100%"])
    axes.set_ylabel("attack success")
    axes.set_xlabel("model (rounds applied)")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    figure.legend(
        loc="upper left",
        bbox_to_anchor=(left + 0.6, 0.84),
        frameon=False,
        fontsize=9 if len(drawn) <= 18 else 7,
        handlelength=2.2,
    )


def _short(label: str) -> str:
    return label if len(label) <= WORDS else f"{label[: WORDS - 1]}…"
