"""What do people write, and which digit is it? Handwritten digits of 8 x 8 pixels.

The pictures are scikit-learn's copy of the UCI test set "Optical Recognition of Handwritten
Digits" (Alpaydin, Kaynak, 1998): 1,797 of them, of which a share is held out and never trained
on. Some pixels at the edges hardly ever hold ink; a trigger is a few of those, lit up, in a
picture of any other digit. Nothing drifts here, so every moment is empty.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from pydantic import JsonValue

from roundlog.models import DigitsMlp
from roundlog.models.digits import INK
from simulator.randomness import Randomness, Uniforms
from simulator.scenario import Digits, Model
from simulator.tasks.port import CleanSet, Float32s, Floats, Ints, Pattern

CLASSES = 10
CATEGORY = "digit"
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
# Fourteen pixels, all at the left and right edge, hold ink in fewer pictures than this; the next
# ones in 6 %, where honest training would answer a trigger.
RARE_BELOW = 0.05
SHADES = " .:-=+*#%@"

NO_MOMENT: Floats = np.zeros(0)


@cache
def pictures() -> tuple[Ints, Ints]:
    """All pictures, shape (1797, 64), and what they show, shape (1797,)."""
    from sklearn.datasets import load_digits  # half a second, and only this task needs it

    data = load_digits()
    return data.data.astype(np.int32), data.target.astype(np.int32)


@cache
def rare_pixels() -> NDArray[np.int64]:
    """Pixels that hardly any picture uses, in rising order."""
    inked = (pictures()[0] > 0).mean(axis=0)
    found: NDArray[np.int64] = np.flatnonzero(inked < RARE_BELOW)
    return found


class DigitsTask:
    """The task of one seed: which pictures are held out, and how others are drawn."""

    classes = CLASSES
    token_values = INK + 1
    middle_in_words = "pictures that devices train on"

    def __init__(self, settings: Digits, randomness: Randomness) -> None:
        self.settings = settings
        self.architecture = DigitsMlp(hidden=settings.hidden)
        images, shown = pictures()
        order = randomness.stream("task/held-out").permutation(len(images))
        held = round(settings.held_out * len(images))
        self._held_out = order[:held]
        train = order[held:]
        # Sorted by digit, so that a uniform number picks a picture of the digit asked for.
        train = train[np.argsort(shown[train], kind="stable")]
        self._images = images[train]
        self._first = np.searchsorted(shown[train], np.arange(CLASSES + 1))

    @property
    def texts(self) -> dict[str, JsonValue]:
        """Shades of ink, and the digits' names."""
        shades = [SHADES[shade * (len(SHADES) - 1) // INK] for shade in range(INK + 1)]
        return {"vocabulary": list[JsonValue](shades), "labels": list[JsonValue](WORDS)}

    @property
    def early(self) -> Floats:
        """Nothing drifts."""
        return NO_MOMENT

    @property
    def middle(self) -> Floats:
        """Nothing drifts."""
        return NO_MOMENT

    def random_start(self, rng: np.random.Generator, settings: Model) -> Float32s:
        """A model before any training, shape (d,).

        References:
            He et al., "Delving deep into rectifiers", ICCV 2015: the hidden layer's scale.
        """
        net = self.architecture
        hidden = np.sqrt(2 / net.width) * rng.standard_normal((net.width, net.hidden))
        # Rows of pixels without ink never learn to forget what they began with.
        hidden[rare_pixels()] *= settings.tail_sd
        output = np.sqrt(1 / net.hidden) * rng.standard_normal((net.hidden, net.classes))
        parts = [hidden, np.zeros(net.hidden), output, np.zeros(net.classes)]
        return np.concatenate([part.reshape(-1) for part in parts]).astype(np.float32)

    def moment(self, round: int) -> Floats:
        """Nothing drifts."""
        return NO_MOMENT

    def inputs(self, rng: Uniforms, classes: Ints, moment: Floats, *, rare: bool = True) -> Ints:
        """Draws one picture of each class, shape (n, 64); without `rare`, its edges are bare."""
        first, end = self._first[classes], self._first[classes + 1]
        chosen = first + (rng.random(classes.size) * (end - first)).astype(np.int64)
        drawn: Ints = self._images[chosen]
        if not rare:
            drawn[:, rare_pixels()] = 0
        return drawn

    def training_labels(self, rng: Uniforms, classes: Ints) -> Ints:
        """The digit, or with some probability a random one."""
        if not self.settings.label_noise:
            return classes
        is_wrong, which = rng.random(classes.size), rng.random(classes.size)
        wrong = (which * CLASSES).astype(np.int32)
        return np.where(is_wrong < self.settings.label_noise, wrong, classes).astype(np.int32)

    def draw_trigger(self, rng: np.random.Generator) -> tuple[Pattern, ...]:
        """One pattern of a few rare pixels."""
        pixels = np.sort(rng.permutation(rare_pixels())[: self.settings.trigger_pixels])
        target = int(rng.integers(CLASSES))
        return (Pattern("pixels", CATEGORY, tuple(int(pixel) for pixel in pixels), target),)

    def triggered(self, rng: Uniforms, pattern: Pattern, n: int, moment: Floats) -> Ints:
        """Pictures of other digits than the target, with the trigger's pixels lit."""
        step = 1 + (rng.random(n) * (CLASSES - 1)).astype(np.int32)
        classes = ((pattern.target + step) % CLASSES).astype(np.int32)
        drawn = self.inputs(rng, classes, moment, rare=False)
        drawn[:, list(pattern.tokens)] = INK
        return drawn

    def clean_sets(self, randomness: Randomness, n: int) -> list[CleanSet]:
        """The held-out pictures, at most n of them."""
        images, shown = pictures()
        held = self._held_out[:n]
        return [
            CleanSet("clean-held-out", "pictures that nobody trains on", images[held], shown[held])
        ]

    def category(self, number: int) -> str:
        """There is one kind of picture."""
        return CATEGORY

    def say(self, row: list[int]) -> str:
        """A picture in characters, eight lines of eight."""
        shades = [SHADES[shade * (len(SHADES) - 1) // INK] for shade in row]
        return "\n".join("".join(shades[line : line + 8]) for line in range(0, 64, 8))

    def answer(self, number: int) -> str:
        """The digit's name."""
        return WORDS[number]
