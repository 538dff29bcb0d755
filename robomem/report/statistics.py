"""Intervals and the rows that `summary.json` and every success table are made of."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robomem.report.values import Estimate, EvalRow, MethodRow, RunRow

Z_95 = 1.959963984540054  # two-sided 95 % point of the normal distribution
RESAMPLES = 4000
DECIMALS = 6  # kept in summary.json


def wilson(successes: float, n: int) -> Estimate:
    """Rate `successes` / n with its Wilson score interval (Wilson 1927); for n = 0 nothing is known: 0 to 1.

    `successes` may be a sum of values in 0..1: their variance is at most that of a rate, so the interval is valid.
    """
    if n < 0 or not -1e-9 <= successes <= n + 1e-9:
        raise ValueError(f"{successes} successes of {n}, expected 0 to n")
    if n == 0:
        return Estimate(0.0, 0.0, 1.0)
    rate = min(max(successes / n, 0.0), 1.0)
    center = (rate + Z_95**2 / (2 * n)) / (1 + Z_95**2 / n)
    half = Z_95 / (1 + Z_95**2 / n) * sqrt(rate * (1 - rate) / n + Z_95**2 / (4 * n**2))
    return Estimate(rate, min(max(center - half, 0.0), rate), max(min(center + half, 1.0), rate))


def bootstrap(scores: Sequence[float], seed: int = 0) -> Estimate:
    """Mean of `scores` (each 0..1) with its percentile bootstrap interval; the same seed gives the same interval.

    Scores that are all alike say nothing of their own error; then, as for fewer than two, the Wilson interval is used.
    """
    values = np.asarray(scores, dtype=np.float64)
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"scores must be 0 to 1, got {values}")
    if len(values) < 2 or np.ptp(values) == 0:
        return wilson(float(values.sum()), len(values))
    picks = np.random.default_rng(seed).integers(0, len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(values[picks].mean(axis=1), [0.025, 0.975])
    mean = float(values.mean())
    return Estimate(mean, min(float(low), mean), max(float(high), mean))


def eval_row(
    task: str, policy: str, arm: str, successes: Sequence[bool], scores: Sequence[float], steps: Sequence[int]
) -> EvalRow:
    """Row of one policy, task and arm, from one entry per episode in each of the three lists."""
    if not len(successes) == len(scores) == len(steps):
        raise ValueError(
            f"{len(successes)} successes, {len(scores)} scores, {len(steps)} step counts: expected as many"
        )
    return EvalRow(
        task=task,
        policy=policy,
        arm=arm,
        episodes=len(successes),
        success=wilson(sum(map(bool, successes)), len(successes)),
        score=bootstrap(scores),
        steps_mean=float(np.mean(steps)) if len(steps) else 0.0,
    )


def results(rows: Sequence[EvalRow]) -> list[dict[str, Any]]:
    """The `results` of summary.json."""
    return [_rounded(asdict(row)) for row in rows]


def _rounded(record: dict[str, Any]) -> dict[str, Any]:
    def rounded(value: Any) -> Any:
        if isinstance(value, dict):
            return _rounded(value)
        return round(value, DECIMALS) if isinstance(value, float) else value

    return {name: rounded(value) for name, value in record.items()}


def rows_from(results: Sequence[Mapping[str, Any]]) -> list[EvalRow]:
    """The rows of a summary.json's `results`. Raises KeyError or TypeError when they are none."""
    return [
        EvalRow(**{**row, "success": Estimate(**row["success"]), "score": Estimate(**row["score"])}) for row in results
    ]


def median_table(runs: Mapping[str, Sequence[EvalRow]], arm: str) -> tuple[RunRow, ...]:
    """Success of every run by arm and task; the median run is that of `arm`, by its mean over tasks.

    Of an even number of runs two are in the middle; the worse is taken. Raises ValueError unless every run has `arm`,
    on the same tasks.
    """
    table = [
        RunRow(
            run=run,
            arm=each_arm,
            success={row.task: row.success for row in rows if row.arm == each_arm},
            mean=float(np.mean([row.success.mean for row in rows if row.arm == each_arm])),
            is_median=False,
        )
        for run, rows in runs.items()
        for each_arm in dict.fromkeys(row.arm for row in rows)
    ]
    tasks = {row.run: sorted(row.success) for row in table if row.arm == arm}
    for run, rows in runs.items():
        if run not in tasks:
            raise ValueError(f"{run} has no arm '{arm}'; it has: {', '.join(sorted({row.arm for row in rows}))}")
        if tasks[run] != (expected := next(iter(tasks.values()))):
            raise ValueError(f"{run} is of the tasks {', '.join(tasks[run])}, expected {', '.join(expected)}")
    ranked = sorted((row.mean, row.run) for row in table if row.arm == arm)
    median = ranked[(len(ranked) - 1) // 2][1]
    return tuple(replace(row, is_median=row.run == median) for row in table)


def methods_table(
    methods: Mapping[str, Sequence[Mapping[str, Mapping[int, bool]]]], seed: int = 0
) -> tuple[MethodRow, ...]:
    """Mean success of methods over their training runs, task -> episode's seed -> success each; differences from the
    first method's.

    Intervals are percentiles of a bootstrap over both, training runs and episodes (Agarwal et al. 2021, stratified by
    task). Runs with the same place in two methods' lists, and episodes of the same seed, are drawn together: what
    they have in common, a training seed, a scene, is no difference. Where nothing ever varied, Wilson's intervals over
    all episodes stand, and Newcombe's of their difference (1998, method 10). Raises ValueError unless every run has
    the same tasks and episodes.
    """
    first_run = next(iter(methods.values()))[0]
    seeds = {task: sorted(of) for task, of in first_run.items()}
    arrays: dict[str, dict[str, NDArray[np.float64]]] = {}
    for method, runs in methods.items():
        for run in runs:
            if {task: sorted(of) for task, of in run.items()} != seeds:
                raise ValueError(f"an evaluation of '{method}' is of other tasks or episodes than the first")
        arrays[method] = {
            task: np.array([[run[task][k] for k in of] for run in runs], float) for task, of in seeds.items()
        }
    random = np.random.default_rng(seed)
    picked = {task: random.integers(0, len(of), (RESAMPLES, len(of))) for task, of in seeds.items()}
    runs_picked = {n: random.integers(0, n, (RESAMPLES, n)) for n in sorted({len(runs) for runs in methods.values()})}
    table: list[MethodRow] = []
    resampled: dict[str, dict[str, NDArray[np.float64]]] = {}
    for method, of in arrays.items():
        rows = runs_picked[len(methods[method])]
        drawn = {task: _resampled(values, rows, picked[task]) for task, values in of.items()}
        drawn["mean"] = np.mean(list(drawn.values()), axis=0)
        resampled[method] = drawn
        counts = {task: values.size for task, values in of.items()}
        rates = {task: float(values.mean()) for task, values in of.items()}
        counts["mean"], rates["mean"] = sum(counts.values()), float(np.mean(list(rates.values())))
        success = {
            task: _interval(rates[task], drawn[task]) or wilson(rates[task] * n, n) for task, n in counts.items()
        }
        more = {}
        if table:
            base = table[0].success
            for task, estimate in success.items():
                gained = estimate.mean - base[task].mean
                differences = drawn[task] - resampled[table[0].method][task]
                more[task] = _interval(gained, differences) or _newcombe(estimate, base[task])
        table.append(MethodRow(method, len(methods[method]), success, more))
    return tuple(table)


def _resampled(values: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Means of `values` (R, E) over rows (B, R) and columns (B, E) drawn with replacement, (B,)."""
    return np.array([values[np.ix_(r, c)].mean() for r, c in zip(rows, columns, strict=True)])


def _interval(mean: float, drawn: NDArray[np.float64]) -> Estimate | None:
    """`mean` with the middle 95 % of `drawn`; None where they are all alike."""
    if np.ptp(drawn) == 0:
        return None
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Estimate(mean, min(float(low), mean), max(float(high), mean))


def _newcombe(ours: Estimate, theirs: Estimate) -> Estimate:
    """The difference of two rates from the interval of each."""
    mean = ours.mean - theirs.mean
    below = sqrt((ours.mean - ours.low) ** 2 + (theirs.high - theirs.mean) ** 2)
    above = sqrt((ours.high - ours.mean) ** 2 + (theirs.mean - theirs.low) ** 2)
    return Estimate(mean, mean - below, mean + above)
