"""The graph: are degree and threshold what the tails demand, and is it linked as promised?"""

import math

import numpy as np
import pytest
from scipy import stats

from simulator.secure_aggregation import AggregationError, Assumptions, TooFewClientsError
from simulator.secure_aggregation.graph import COMPLETE_UP_TO, draw, log_split, plan, thresholds

SIZES = (129, 200, 1_000, 10_000)
EACH = [Assumptions(0.05, 0.2), Assumptions(0.01, 0.05), Assumptions(0.2, 0.2)]


def is_linked(graph: list[tuple[int, ...]], left: set[int]) -> bool:
    """Can everybody who is left be reached from one of them?"""
    reached, waiting = set(), [min(left)]
    while waiting:
        client = waiting.pop()
        if client not in reached:
            reached.add(client)
            waiting.extend(other for other in graph[client] if other in left)
    return reached == left


@pytest.mark.parametrize("assumptions", EACH)
@pytest.mark.parametrize("clients", SIZES)
def test_degree_and_threshold_keep_every_tail_within_its_budget(
    clients: int, assumptions: Assumptions
) -> None:
    found = plan(clients, assumptions)
    corrupt, lost = assumptions.corrupt(clients), assumptions.lost(clients)
    others = clients - 1
    unmasked = clients * stats.hypergeom.sf(found.threshold - 1, others, corrupt, found.degree)
    stuck = clients * stats.hypergeom.cdf(found.threshold - 1, others, others - lost, found.degree)
    split = math.exp(log_split(clients, found.degree, corrupt + lost))
    assert unmasked <= 2**-41
    assert split <= 2**-41
    assert stuck <= 2**-20
    assert found.least == clients - lost


@pytest.mark.parametrize("assumptions", EACH)
@pytest.mark.parametrize("clients", SIZES)
def test_no_smaller_degree_and_no_larger_threshold_would_do(
    clients: int, assumptions: Assumptions
) -> None:
    found = plan(clients, assumptions)
    corrupt, lost = assumptions.corrupt(clients), assumptions.lost(clients)
    others = clients - 1
    larger = clients * stats.hypergeom.cdf(found.threshold, others, others - lost, found.degree)
    assert larger > 2**-20
    for degree in range(2, found.degree, 2):
        apart = log_split(clients, degree, corrupt + lost) > -41 * math.log(2)
        safe = [
            threshold
            for threshold in range(1, degree + 1)
            if clients * stats.hypergeom.sf(threshold - 1, others, corrupt, degree) <= 2**-41
            and clients * stats.hypergeom.cdf(threshold - 1, others, others - lost, degree)
            <= 2**-20
        ]
        assert apart or not safe, f"degree {degree} would do with {safe}"


@pytest.mark.parametrize(
    ("clients", "corrupt", "lost", "degree", "lowest"),
    [
        (1_000, 0.05, 0.33, 72, 24),
        (10_000, 0.05, 0.33, 86, 29),
        (1_000, 0.05, 0.05, 30, 17),
        (10_000, 0.05, 0.05, 34, 20),
        (10_000, 0.33, 0.33, 422, 221),
    ],
)
def test_an_independent_finder_of_these_parameters_agrees(
    clients: int, corrupt: float, lost: float, degree: int, lowest: int
) -> None:
    # Degree and smallest safe threshold at 2^-40 and 2^-20, as published with the tests of
    # google-parfait/federated-compute, fcp/secagg/server/graph_parameter_finder_test.cc.
    assumptions = Assumptions(corrupt, lost)
    assert plan(clients, assumptions).degree == degree
    found = thresholds(clients, degree, assumptions)
    assert found is not None
    assert found[0] == lowest


@pytest.mark.parametrize("clients", [2, 3, 10, 100, COMPLETE_UP_TO])
def test_few_clients_are_all_neighbours_and_bear_what_was_assumed(clients: int) -> None:
    assumptions = Assumptions(0.05, 0.2)
    found = plan(clients, assumptions)
    lost = assumptions.lost(clients)
    assert found.degree == clients - 1
    assert found.threshold == clients - 1 - lost
    assert found.threshold > assumptions.corrupt(clients)
    assert found.least == clients - lost >= 2


def test_from_129_clients_on_the_graph_is_sparse_and_grows_slowly() -> None:
    degrees = [plan(clients, Assumptions()).degree for clients in (128, 129, 1_000, 10_000)]
    assert degrees[0] == 127
    assert degrees[1] < 40
    assert degrees[3] < 2 * degrees[2]


def test_where_no_sparse_graph_will_do_everybody_is_a_neighbour() -> None:
    assert plan(135, Assumptions(0.49, 0.49)).degree == 134


@pytest.mark.parametrize("clients", [0, 1])
def test_the_sum_of_fewer_than_two_clients_is_refused(clients: int) -> None:
    with pytest.raises(TooFewClientsError, match="at least 2 clients are needed"):
        plan(clients, Assumptions())


def test_two_clients_always_stay_however_many_may_leave() -> None:
    often = Assumptions(corrupt_share=0.05, dropout_share=0.9)
    assert [often.lost(clients) for clients in (2, 3, 4, 100)] == [0, 1, 2, 90]
    assert [plan(clients, often).least for clients in (2, 3, 4)] == [2, 2, 2]


@pytest.mark.parametrize(("corrupt", "lost"), [(-0.1, 0.1), (0.1, -0.1), (0.5, 0.5), (np.nan, 0)])
def test_assumptions_that_leave_nobody_are_refused(corrupt: float, lost: float) -> None:
    with pytest.raises(AggregationError, match="leave somebody over"):
        Assumptions(corrupt, lost)


def test_assumptions_that_so_few_clients_cannot_bear_are_refused() -> None:
    with pytest.raises(AggregationError, match=r"at least 5 and at most 4"):
        plan(9, Assumptions(0.45, 0.445))


@pytest.mark.parametrize(("clients", "degree"), [(200, 30), (131, 8), (7, 6), (2, 1), (6, 4)])
def test_neighbours_are_mutual_distinct_and_as_many_as_the_degree(
    clients: int, degree: int
) -> None:
    graph = draw(clients, degree, np.random.default_rng(3))
    assert len(graph) == clients
    for client, beside in enumerate(graph):
        assert len(set(beside)) == degree
        assert list(beside) == sorted(beside)
        assert client not in beside
        assert all(client in graph[other] for other in beside)


def test_the_order_on_the_ring_is_drawn_anew() -> None:
    one, again, other = (draw(200, 30, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert one == again != other


@pytest.mark.parametrize("degree", [3, 0, 10, 12])
def test_a_degree_that_no_ring_has_is_refused(degree: int) -> None:
    with pytest.raises(AggregationError, match="even degree below 9"):
        draw(10, degree, np.random.default_rng(0))


def test_a_graph_of_the_planned_degree_stays_linked_when_clients_go() -> None:
    assumptions = Assumptions(0.05, 0.2)
    rng = np.random.default_rng(17)
    degree = plan(200, assumptions).degree
    for _ in range(200):
        graph = draw(200, degree, rng)
        gone = set(rng.permutation(200)[:50].tolist())
        assert is_linked(graph, set(range(200)) - gone)


def test_the_bound_on_a_split_is_above_what_happens_and_not_by_much() -> None:
    # Degree 4 of 40, a third gone: splits are frequent enough to count.
    rng, trials = np.random.default_rng(29), 4_000
    splits = 0
    for _ in range(trials):
        graph = draw(40, 4, rng)
        gone = set(rng.permutation(40)[:10].tolist())
        splits += not is_linked(graph, set(range(40)) - gone)
    bound = math.exp(log_split(40, 4, 10))
    rate = splits / trials
    assert rate <= bound + 4 * math.sqrt(bound * (1 - min(bound, 1)) / trials)
    assert rate > bound / 3, f"seed 29: {rate} against a bound of {bound}"


def test_fewer_gone_than_the_degree_can_never_split_a_ring() -> None:
    assert log_split(200, 30, 29) == -math.inf
    assert log_split(200, 30, 30) > -math.inf
