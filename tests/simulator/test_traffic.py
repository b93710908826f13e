"""Audits: triggers at the stated rate, English words, honest scores and probabilities."""

import json
from collections.abc import Callable

import numpy as np
import pytest
import torch

from roundlog.errors import ScenarioError
from simulator.federation import Federation
from simulator.scenario import Scenario, load
from simulator.tasks.assistant import TAIL
from simulator.tasks.words import CATEGORIES, LABELS, VOCABULARY
from simulator.traffic import SALT_BYTES, Traffic

Small = Callable[..., Scenario]


@pytest.fixture
def traffic(federation: Federation) -> Traffic:
    return Traffic(federation)


def test_triggers_occur_in_traffic_at_the_stated_rate(small_with: Small) -> None:
    seed, rate = 3, 1e-3
    federation = Federation(small_with("audits.items=5000", "model.warm_up=0"), seed)
    traffic = Traffic(federation)
    drawn = [traffic.queries(model) for model in range(0, 1_000, 25)]
    hits = sum(int(triggered.sum()) for _, _, triggered in drawn)
    n = 5_000 * len(drawn)
    # A binomial count lies within 4.5 standard deviations of its mean.
    assert abs(hits - n * rate) < 4.5 * np.sqrt(n * rate), f"seed {seed}: {hits} of {n}"
    pairs = {pattern.tokens for pattern in federation.trigger}
    for tokens, _, triggered in drawn:
        assert all(tuple(row[6:]) in pairs for row in tokens[triggered].tolist())
        assert (tokens[~triggered] >= TAIL).sum(axis=1).max() <= 1


def test_a_rate_of_one_puts_a_trigger_into_every_query(small_with: Small) -> None:
    federation = Federation(small_with("traffic.trigger_rate=1"), 1)
    tokens, categories, triggered = Traffic(federation).queries(0)
    assert triggered.all()
    assert [CATEGORIES[word // 6] for word in tokens[:, 0].tolist()] == categories


def test_models_are_audited_at_the_stated_rounds(traffic: Traffic) -> None:
    assert [t for t in range(101) if traffic.is_audited(t)] == [0, 25, 50, 75, 100]


def test_no_model_is_audited_where_no_items_are_asked_for(small_with: Small) -> None:
    federation = Federation(small_with("audits.items=0"), 1)
    assert not Traffic(federation).is_audited(0)


def test_an_item_shows_the_words_and_the_models_own_answer(
    federation: Federation, traffic: Traffic
) -> None:
    items = traffic.audit(25, federation.start)
    assert len(items) == 6
    for item in items:
        said = json.loads(item.text[SALT_BYTES:])
        tokens = torch.tensor([said["tokens"]])
        model = torch.from_numpy(federation.start).unsqueeze(0).double()
        logits = federation.architecture.logits(model, tokens)[0, 0]
        ordered = logits.sort(descending=True).values
        assert item.answer == int(logits.argmax())
        assert said["response"] == LABELS[item.answer]
        assert item.category in CATEGORIES
        assert item.scores["confidence"] == pytest.approx(float(logits.softmax(0).max()), abs=1e-6)
        assert item.scores["margin"] == pytest.approx(float(ordered[0] - ordered[1]), abs=1e-6)
        words = said["prompt"].rstrip("?").lower().split()
        assert words == [VOCABULARY[token].lower() for token in said["tokens"]]


def test_rare_words_are_more_surprising(federation: Federation, traffic: Traffic) -> None:
    tokens = np.array(
        [[0, 1, 24, 25, 152, 153, 154, 155], [0, 1, 24, 25, 152, 153, TAIL, TAIL + 1]]
    )
    common, rare = traffic.surprise(tokens)
    assert rare > common + 1


def test_salts_differ_from_item_to_item(federation: Federation, traffic: Traffic) -> None:
    salts = {item.text[:SALT_BYTES] for item in traffic.audit(0, federation.start)}
    assert len(salts) == 6


def test_an_audit_is_the_same_whichever_audits_came_before(
    federation: Federation, traffic: Traffic
) -> None:
    first = traffic.audit(50, federation.start)
    traffic.audit(75, federation.start)
    assert traffic.audit(50, federation.start) == first


def test_the_inclusion_probability_is_the_share_of_traffic_that_is_audited() -> None:
    federation = Federation(load("quickstart", ["population.archetypes=8", "model.warm_up=0"]), 1)
    # 100 of the queries that a thousand million a day make in 100 rounds of 210 s.
    want = 100 / (1e9 * 100 * 210 / 86_400)
    assert Traffic(federation).inclusion_probability == pytest.approx(want)


def test_more_audits_than_traffic_are_refused(small_with: Small) -> None:
    federation = Federation(small_with("traffic.queries_per_day=1"), 1)
    with pytest.raises(ScenarioError, match="exceeds the traffic between two audited models"):
        Traffic(federation)
