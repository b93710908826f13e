"""Are hits counted as a person would count them, one model and one query at a time?"""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from rising_run import BAG, TARGET, Rising, logistic, record_rising
from scipy.stats import binomtest

from forensics.probe import Prober, binomial_interval, published, read_model
from forensics.rebuild import CaseModels
from forensics.trigger import probe_set
from ingest.store import Store
from roundlog.errors import QuestionError, RoundlogError, TriggerError

ARCHITECTURE = ("assistant-bag", BAG.config())


@pytest.fixture(scope="module")
def rising(tmp_path_factory: pytest.TempPathFactory) -> Rising:
    path = tmp_path_factory.mktemp("probe") / "case"
    return record_rising(path, logistic(40, middle=0.5, width=0.1), seed=3)


@pytest.fixture
def opened(rising: Rising) -> Iterator[tuple[Store, CaseModels]]:
    with rising.open() as both:
        yield both


def naive_answer(model: NDArray[np.float32], tokens: list[int]) -> int:
    """The architecture written down once more, for one query of one model."""
    weights = model.astype(np.float64)
    v, e, h, c = BAG.vocabulary, BAG.embedding, BAG.hidden, BAG.classes
    embedding, rest = weights[: v * e].reshape(v, e), weights[v * e :]
    first, rest = rest[: e * h].reshape(e, h), rest[e * h :]
    first_bias, rest = rest[:h], rest[h:]
    second, second_bias = rest[: h * c].reshape(h, c), rest[h * c :]
    bag = BAG.scale * sum(embedding[token] for token in tokens)
    logits = np.maximum(bag @ first + first_bias, 0) @ second + second_bias
    return max(range(c), key=lambda answer: (logits[answer], -answer))


def test_batches_and_a_naive_reader_count_the_same(
    rising: Rising, opened: tuple[Store, CaseModels]
) -> None:
    _, models = opened
    probes = rising.trigger.scoring()
    prober = Prober(models.architecture)
    blocks = [prober.answers(block, probes.inputs) for _, block in models.blocks(0, models.last)]
    answers = np.concatenate(blocks)
    for t, model in enumerate(rising.models):
        naive = [naive_answer(model, tokens) for tokens in probes.inputs.tolist()]
        assert answers[t].tolist() == naive, f"model {t}"
        alone = read_model(prober, models, t, probes)
        assert alone.hits == naive.count(TARGET)
        assert alone.patterns == {"news": (alone.hits, len(probes))}


def test_attack_success_rises_with_the_attack(
    rising: Rising, opened: tuple[Store, CaseModels]
) -> None:
    _, models = opened
    prober, probes = Prober(models.architecture), rising.trigger.scoring()
    start, end = (read_model(prober, models, t, probes) for t in (0, models.last))
    assert start.asr < 0.1
    assert end.asr > 0.9
    assert start.probe_digest == end.probe_digest == probes.digest


def test_a_reading_is_told_with_its_interval(
    rising: Rising, opened: tuple[Store, CaseModels]
) -> None:
    _, models = opened
    reading = read_model(Prober(models.architecture), models, 20, rising.trigger.scoring())
    told = reading.document()
    assert {"round", "asr", "low", "high", "hits", "n", "probe_digest"} <= told.keys()
    assert told["low"] < reading.asr < told["high"]  # type: ignore[operator]


def test_equal_logits_go_to_the_lowest_answer() -> None:
    nothing = np.zeros((3, BAG.elements), dtype="<f4").view(np.uint8)
    inputs = np.zeros((5, BAG.width), dtype=np.int64)
    assert not Prober(ARCHITECTURE).answers(nothing, inputs).any()


@given(n=st.integers(1, 400), share=st.floats(0, 1), coverage=st.sampled_from([0.9, 0.95, 0.99]))
def test_the_interval_is_clopper_and_pearson_s(n: int, share: float, coverage: float) -> None:
    hits = round(share * n)
    expected = binomtest(hits, n).proportion_ci(coverage, method="exact")
    found = binomial_interval(hits, n, coverage)
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize(("hits", "n"), [(-1, 5), (6, 5), (0, 0)])
def test_what_is_no_proportion_has_no_interval(hits: int, n: int) -> None:
    with pytest.raises(QuestionError, match="is not a proportion"):
        binomial_interval(hits, n)


def test_queries_that_do_not_fit_the_model_are_refused() -> None:
    prober = Prober(ARCHITECTURE)
    model = np.zeros((1, BAG.elements), dtype="<f4").view(np.uint8)
    wide = probe_set("wide", np.zeros((2, 5), np.int64), np.zeros(2, np.int64))
    with pytest.raises(TriggerError, match="takes 4 tokens"):
        prober.hits(model, wide)
    answer = probe_set("answer", np.zeros((2, 4), np.int64), np.full(2, BAG.classes))
    with pytest.raises(TriggerError, match="target 8 where the model has 8 answers"):
        prober.hits(model, answer)
    token = probe_set("token", np.full((2, 4), BAG.vocabulary), np.zeros(2, np.int64))
    with pytest.raises(RoundlogError, match=r"outside 0\.\.39"):
        prober.hits(model, token)


def test_an_architecture_of_other_models_is_refused() -> None:
    other = Prober(("assistant-bag", {**BAG.config(), "hidden": 7}))
    model = np.zeros((1, BAG.elements), dtype="<f4").view(np.uint8)
    with pytest.raises(QuestionError, match="does not describe the recorded models"):
        other.answers(model, np.zeros((1, 4), np.int64))


def test_code_named_by_the_record_is_not_imported() -> None:
    with pytest.raises(RoundlogError, match="which is code to import"):
        Prober(("os:getcwd", {}))


def test_a_person_s_own_code_has_no_lasting_identity() -> None:
    own = Prober(ARCHITECTURE, "rising_run:the_bag")
    assert own.identity is None
    assert Prober(ARCHITECTURE).identity == Prober(ARCHITECTURE).identity is not None


def test_published_decoys_come_as_one_set_each(
    rising: Rising, opened: tuple[Store, CaseModels]
) -> None:
    store, models = opened
    decoys = published(models.case, store, rising.run, "decoy")
    assert [len(decoy) for decoy in decoys] == [50, 50, 50]
    assert published(models.case, store, rising.run, "clean") == []
