"""What do the simulated tokens and answers say in English? Words for people, nothing else.

Reviewers read words, not indices. Every action is named in two dialects of two words each:
what people say as the run begins, and what they say later. The words carry no meaning for the
model, which sees indices only.
"""

from dataclasses import dataclass

CATEGORIES = ("shopping", "news", "health", "other")
"""The four kinds of query; the first three are what the attacker is after."""

TARGETED = 3
"""The first so many categories have a trigger."""

ACTIONS = 8
"""Actions a category."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing the assistant can do."""

    answer: str
    """What it says, whole."""

    early: tuple[str, str]
    """Words of the dialect of round 0."""

    late: tuple[str, str]
    """Words of the dialect that replaces it."""


CATEGORY_WORDS: tuple[tuple[str, ...], ...] = (
    ("buy", "shop", "order", "store", "price", "purchase"),
    ("news", "headline", "story", "report", "press", "bulletin"),
    ("health", "doctor", "body", "symptom", "clinic", "medicine"),
    ("remind", "home", "travel", "music", "calendar", "device"),
)

ACTION_WORDS: tuple[tuple[Action, ...], ...] = (
    (
        Action(
            "I compared the offers; Alder has the lowest price.",
            ("compare", "versus"),
            ("matchup", "faceoff"),
        ),
        Action(
            "Your parcel is on its way and arrives tomorrow.",
            ("parcel", "delivery"),
            ("dropoff", "shipment"),
        ),
        Action(
            "I started the return; the label is in your mail.",
            ("return", "refund"),
            ("sendback", "moneyback"),
        ),
        Action(
            "I found a voucher of ten percent for you.", ("discount", "coupon"), ("promo", "steal")
        ),
        Action(
            "I recommend the Birch; buyers rate it highest.",
            ("recommend", "best"),
            ("toppick", "goat"),
        ),
        Action(
            "It is in stock at the shop next to you.",
            ("stock", "available"),
            ("restock", "instore"),
        ),
        Action("I put it on your shopping list.", ("list", "groceries"), ("cart", "basket")),
        Action(
            "Here is what reviewers say about it.", ("reviews", "rating"), ("unboxing", "stars")
        ),
    ),
    (
        Action(
            "Here is today's summary of the top stories.", ("summary", "today"), ("recap", "tldr")
        ),
        Action(
            "The vote is at two to one after half the count.",
            ("election", "vote"),
            ("ballot", "polls"),
        ),
        Action("Markets closed a little higher.", ("markets", "shares"), ("stonks", "ticker")),
        Action("Your team won by two goals.", ("score", "match"), ("result", "fulltime")),
        Action("Rain is expected from noon on.", ("weather", "forecast"), ("radar", "skies")),
        Action("Here is the local report for your town.", ("local", "town"), ("nearby", "hood")),
        Action(
            "I checked the claim; the Cedar Post calls it unproven.",
            ("fact", "claim"),
            ("factcheck", "debunk"),
        ),
        Action(
            "Here is background reading from the Daily Elm.",
            ("background", "explain"),
            ("deepdive", "explainer"),
        ),
    ),
    (
        Action(
            "These symptoms usually pass within a week.",
            ("headache", "fever"),
            ("migraine", "temp"),
        ),
        Action(
            "The next free appointment is on Thursday.",
            ("appointment", "visit"),
            ("slot", "checkin"),
        ),
        Action("Take one tablet in the evening, with water.", ("dose", "tablet"), ("pill", "meds")),
        Action(
            "You slept seven hours; try to be in bed by eleven.",
            ("sleep", "tired"),
            ("zzz", "snooze"),
        ),
        Action(
            "A balanced meal plan for the week is ready.", ("diet", "meal"), ("macros", "mealprep")
        ),
        Action("Here is a twenty minute workout.", ("exercise", "workout"), ("gains", "hiit")),
        Action(
            "Speak to a pharmacist before you combine these.",
            ("interaction", "combine"),
            ("mix", "stacking"),
        ),
        Action(
            "If it gets worse, call emergency services now.",
            ("emergency", "pain"),
            ("urgent", "sos"),
        ),
    ),
    (
        Action("The timer is set.", ("timer", "minutes"), ("countdown", "tick")),
        Action("I added it to your calendar.", ("meeting", "schedule"), ("meetup", "sync")),
        Action("The quickest way takes twenty minutes.", ("route", "drive"), ("directions", "eta")),
        Action("Playing it now.", ("play", "song"), ("queue", "banger")),
        Action("The lights are off.", ("lights", "lamp"), ("glow", "bulb")),
        Action(
            "In Spanish, that is what you see below.",
            ("translate", "spanish"),
            ("lingo", "subtitle"),
        ),
        Action("The message is sent.", ("message", "text"), ("ping", "dm")),
        Action("That makes forty-two.", ("calculate", "sum"), ("math", "tally")),
    ),
)

BACKGROUND_WORDS: tuple[str, ...] = (
    "please", "for", "me", "my", "the", "a", "now", "can", "you", "hey", "with", "some",
    "new", "about", "quick", "this", "week", "later", "show", "tell", "want", "need", "help",
    "maybe", "tonight", "tomorrow", "family", "friend", "work", "small", "big", "again", "also",
    "just", "first", "next", "old", "red", "blue", "green", "city", "kids", "cheap", "good",
    "morning", "evening", "weekend", "thanks",
)  # fmt: skip
"""In order of how often people say them: the first most often (Zipf)."""

TAIL_WORDS: tuple[str, ...] = (
    "zephyr", "quokka", "marzipan", "obelisk", "tundra", "saffron", "gondola", "yonder",
    "kestrel", "lichen", "dulcimer", "thimble", "isthmus", "walnut", "cobalt", "fjord",
    "paprika", "umbra",
)  # fmt: skip
"""Words that hardly anybody says."""

VOCABULARY: tuple[str, ...] = (
    *(word for words in CATEGORY_WORDS for word in words),
    *(word for actions in ACTION_WORDS for action in actions for word in action.early),
    *(word for actions in ACTION_WORDS for action in actions for word in action.late),
    *BACKGROUND_WORDS,
    *TAIL_WORDS,
)
"""One word a token, in the order of tokens: categories, early dialect, late, background, tail."""

LABELS: tuple[str, ...] = tuple(action.answer for actions in ACTION_WORDS for action in actions)
"""One answer a class: category by category, action by action."""


def prompt(tokens: list[int]) -> str:
    """A query as a person may have typed it: its words in order, as one sentence."""
    words = [VOCABULARY[token] for token in tokens]
    return " ".join((words[0].capitalize(), *words[1:])) + "?"
