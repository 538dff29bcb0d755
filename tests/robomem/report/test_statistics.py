import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import binom, binomtest

from robomem.report.statistics import bootstrap, eval_row, median_table, methods_table, results, rows_from, wilson
from robomem.report.values import Estimate, EvalRow


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (95, 100), (1, 3), (333, 1000)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    estimate = wilson(successes, n)
    published = binomtest(successes, n).proportion_ci(method="wilson")
    assert estimate.mean == successes / n
    assert (estimate.low, estimate.high) == pytest.approx((published.low, published.high), abs=1e-12)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_its_mean_within_0_and_1(case: tuple[int, int]) -> None:
    estimate = wilson(*case)
    assert 0 <= estimate.low <= estimate.mean <= estimate.high <= 1
    assert estimate.high - estimate.low > 0


def test_wilson_covers_the_true_rate_as_often_as_it_says() -> None:
    estimates = [wilson(k, 100) for k in range(101)]
    covered = sum(binom.pmf(k, 100, 0.9) for k in range(101) if estimates[k].low <= 0.9 <= estimates[k].high)
    assert 0.93 <= covered <= 0.97


def test_wilson_of_nothing_is_everything() -> None:
    assert wilson(0, 0) == Estimate(0.0, 0.0, 1.0)


def test_wilson_refuses_more_successes_than_episodes() -> None:
    with pytest.raises(ValueError, match="5 successes of 4"):
        wilson(5, 4)


def test_bootstrap_repeats_and_covers_the_mean_like_a_t_interval() -> None:
    scores = np.random.default_rng(1).uniform(0, 1, 200)
    estimate = bootstrap(list(scores))
    assert estimate == bootstrap(list(scores))
    half = 1.972 * scores.std(ddof=1) / np.sqrt(200)
    assert (estimate.low, estimate.high) == pytest.approx((scores.mean() - half, scores.mean() + half), abs=0.006)


def test_bootstrap_of_equal_scores_is_not_certain() -> None:
    assert bootstrap([1.0] * 10) == wilson(10, 10)
    assert bootstrap([0.5] * 10).low < 0.5 < bootstrap([0.5] * 10).high


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan")])
def test_bootstrap_refuses_scores_outside_0_to_1(score: float) -> None:
    with pytest.raises(ValueError, match="scores must be 0 to 1"):
        bootstrap([0.5, score])


def test_results_have_the_agreed_keys_and_are_plain_json() -> None:
    row = eval_row("push_buttons", "memoryvla", "memory", [True, False], [1.0, 0.5], [10, 20])
    (record,) = json.loads(json.dumps(results([row]), allow_nan=False))
    assert list(record) == ["task", "policy", "arm", "episodes", "success", "score", "steps_mean"]
    assert list(record["success"]) == list(record["score"]) == ["mean", "low", "high"]
    assert (record["episodes"], record["success"]["mean"], record["score"]["mean"], record["steps_mean"]) == (
        2,
        0.5,
        0.75,
        15,
    )


def test_results_take_numpy_values() -> None:
    row = eval_row("t", "p", "memory", list(np.array([True])), list(np.array([1.0])), list(np.array([3])))
    assert json.loads(json.dumps(results([row])))[0]["success"]["mean"] == 1.0


def test_eval_row_refuses_lists_of_different_length() -> None:
    with pytest.raises(ValueError, match="2 successes, 1 scores, 2 step counts"):
        eval_row("t", "p", "memory", [True, False], [1.0], [1, 2])


def of(successes: list[bool], arm: str = "memory", task: str = "t") -> EvalRow:
    n = len(successes)
    return eval_row(task, "p", arm, successes, [float(success) for success in successes], [1] * n)


def test_the_median_run_is_marked_in_every_arm() -> None:
    runs = {
        name: [of([True] * good + [False] * (10 - good)), of([False] * 10, "no_memory")]
        for name, good in {"a": 10, "b": 8, "c": 9}.items()
    }
    table = median_table(runs, "memory")
    assert [(row.run, row.arm, row.mean) for row in table if row.is_median] == [
        ("c", "memory", 0.9),
        ("c", "no_memory", 0),
    ]
    assert len(table) == 6


def test_the_median_is_by_the_mean_over_tasks() -> None:
    runs = {
        "even": [of([True] * 3 + [False]), of([True] * 3 + [False], task="u")],
        "best": [of([True] * 4), of([True] * 4, task="u")],
        "worst": [of([True] * 4), of([False] * 4, task="u")],
    }
    assert {row.run for row in median_table(runs, "memory") if row.is_median} == {"even"}


def test_the_median_of_two_runs_is_the_worse() -> None:
    runs = {name: [of([ok])] for name, ok in (("a", True), ("b", False))}
    assert [row.run for row in median_table(runs, "memory") if row.is_median] == ["b"]


def test_runs_that_cannot_be_compared_are_named() -> None:
    with pytest.raises(ValueError, match="b has no arm 'memory'; it has: blank"):
        median_table({"a": [of([True])], "b": [of([True], "blank")]}, "memory")
    with pytest.raises(ValueError, match="b is of the tasks u, expected t"):
        median_table({"a": [of([True])], "b": [of([True], task="u")]}, "memory")


def test_rows_are_read_again_from_a_summary() -> None:
    rows = [of([True, False]), of([False, False], "blank")]
    read = rows_from(json.loads(json.dumps(results(rows))))
    assert [(row.task, row.arm, row.episodes, row.success.mean) for row in read] == [
        ("t", "memory", 2, 0.5),
        ("t", "blank", 2, 0.0),
    ]


Runs = list[dict[str, dict[int, bool]]]


def played(rates: list[float], rng: np.random.Generator, hard: NDArray[np.float64]) -> Runs:
    """One run for each of `rates`, on scenes of which some are `hard`er than others."""
    return [{"t": {k: bool(rng.random() < rate - hard[k]) for k in range(len(hard))}} for rate in rates]


def test_methods_are_rated_over_runs_and_episodes() -> None:
    runs: dict[str, Runs] = {
        "ours": [{"t": {0: True, 1: True}, "u": {7: True}}, {"t": {0: True, 1: False}, "u": {7: True}}],
        "theirs": [{"t": {0: False, 1: False}, "u": {7: True}}],
    }
    ours, theirs = methods_table(runs)
    assert (ours.runs, ours.success["t"].mean, ours.success["u"].mean) == (2, 0.75, 1)
    assert ours.success["mean"].mean == pytest.approx(0.875)  # every task counts the same, however many its episodes
    assert ours.more == {}
    assert theirs.more["t"].mean == -0.75
    assert theirs.more["mean"].mean == pytest.approx(-0.375)
    assert methods_table(runs) == (ours, theirs)
    assert json.loads(json.dumps(theirs.plain()))["more"]["t"]["mean"] == -0.75


def test_methods_cover_the_truth_as_often_as_they_say() -> None:
    """Runs that differ by 4 points, scenes by 8; 95 % intervals, a little too wide rather than too narrow."""
    rng = np.random.default_rng(0)
    held = []
    for _ in range(60):
        hard = 0.08 * rng.standard_normal(100)
        a, b = (played(list(0.85 + 0.04 * rng.standard_normal(3)), rng, hard) for _ in range(2))
        first, second = methods_table({"a": a, "b": b})
        held += [first.success["t"].low <= 0.85 <= first.success["t"].high]
        held += [second.more["t"].low <= 0 <= second.more["t"].high]
    assert 0.9 <= np.mean(held) <= 1


def test_what_methods_have_in_common_is_no_difference() -> None:
    """The same hard scenes and the same unlucky run: each makes a success uncertain, not a difference."""
    common = [{"t": {k: k % 3 > 0 and not (run == 2 and k > 40) for k in range(60)}} for run in range(3)]
    worse = [{"t": {k: won and k != 1 for k, won in run["t"].items()}} for run in common]
    ours, theirs = methods_table({"ours": common, "theirs": worse})
    assert ours.success["t"].high - ours.success["t"].low > 0.2
    assert -0.06 < theirs.more["t"].low < theirs.more["t"].mean < 0


def test_methods_that_never_fail_are_not_certain() -> None:
    perfect = [{"t": dict.fromkeys(range(10), True)}] * 3
    ours, theirs = methods_table({"ours": perfect, "theirs": perfect})
    assert ours.success["t"] == wilson(30, 30)
    assert theirs.more["t"].mean == 0
    assert theirs.more["t"].low == -theirs.more["t"].high == -(1 - wilson(30, 30).low)


@pytest.mark.parametrize("other", [{"t": {0: True, 2: True}}, {"u": {0: True, 1: True}}])
def test_methods_on_other_episodes_are_refused(other: dict[str, dict[int, bool]]) -> None:
    with pytest.raises(ValueError, match="an evaluation of 'theirs' is of other tasks or episodes"):
        methods_table({"ours": [{"t": {0: True, 1: True}}], "theirs": [other]})
