"""Line plots and histograms as inline SVG whose colours follow the page, light or dark."""

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from robomem.report.values import Curve, RunReport

# Drawn in these stand-in colours, then renamed to the page's custom properties.
INK, MUTED, RULE, WANTED, GLOW = "#010203", "#010204", "#010205", "#010206", "#010207"
SERIES = tuple(f"#0203{i:02d}" for i in range(10, 18))
PROPERTIES = {
    INK: "--ink",
    MUTED: "--muted",
    RULE: "--rule",
    WANTED: "--faint",
    GLOW: "--glow",
    **{color: f"--series-{i}" for i, color in enumerate(SERIES)},
}
STYLE: dict[Any, Any] = {
    "axes.edgecolor": RULE,
    "axes.grid": True,
    "axes.labelcolor": MUTED,
    "axes.prop_cycle": cycler(color=SERIES),
    "axes.spines.left": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.axisbelow": True,
    "font.family": "sans-serif",
    "font.size": 10,
    "grid.color": RULE,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.labelcolor": INK,
    "lines.linewidth": 1.8,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
}
BLANK_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def curves_svg(curves: Sequence[Curve], rate: bool = False) -> str:
    """Curves over training steps; `rate` fixes the axis to 0..100 %, else it is logarithmic where all values allow.

    The page draws the legend: curve i has the colour --series-i, up to eight.
    """
    with mpl.rc_context(STYLE):
        figure, axes = _figure(5.6, 3.0)
        for curve in curves:
            axes.plot(curve.steps, np.asarray(curve.values) * (100 if rate else 1))
        axes.set_xlabel("training step")
        if rate:
            axes.set_ylim(-2, 102)
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0f} %")
        elif all(np.min(curve.values, initial=1.0) > 0 for curve in curves):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        return _svg(figure, "rates" if rate else "curves")


def commands_svg(report: RunReport) -> str:
    """Joints and gripper over time, wanted (wide, faint) and sent; bands where a person held the arm or it starved."""
    n_joints = report.sent.shape[1]
    columns = 2
    rows = -(-(n_joints + 1) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(11.4, 1.35 * rows + 0.3), layout="constrained")
        grid = figure.subplots(rows, columns, sharex=True, squeeze=False).ravel()
        for joint in range(n_joints):
            grid[joint].plot(report.t, report.wanted[:, joint], color=WANTED, linewidth=3)
            grid[joint].plot(report.t, report.sent[:, joint], color=SERIES[0], linewidth=1.4)
            grid[joint].set_title(f"joint {joint + 1} [rad]", fontsize=9, fontweight="normal")
        grid[n_joints].plot(report.t, report.gripper, color=SERIES[1], linewidth=1.4)
        grid[n_joints].set_title("gripper, 0 closed, 1 open", fontsize=9, fontweight="normal")
        grid[n_joints].set_ylim(-0.08, 1.08)
        for axes in grid[: n_joints + 1]:
            _shade(axes, report.t, report.human, GLOW)
            _shade(axes, report.t, report.starved, INK)
            axes.margins(x=0.01)
        for axes in grid[n_joints + 1 :]:
            axes.set_axis_off()
        grid[n_joints].set_xlabel("time [s]")
        return _svg(figure, "commands")


def lateness_svg(late_s: NDArray[np.float64]) -> str:
    """Histogram of how late ticks began, on a logarithmic time axis [µs]; what is not late counts as 1 µs."""
    late_us = np.maximum(late_s * 1e6, 1.0)
    decades = int(np.ceil(np.log10(max(float(np.max(late_us, initial=1.0)), 1000.0))))
    with mpl.rc_context(STYLE):
        figure, axes = _figure(5.6, 2.6)
        axes.hist(late_us, bins=[float(edge) for edge in np.logspace(0, decades, 12 * decades + 1)], color=SERIES[0])
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_xlabel("late by [µs]")
        axes.set_ylabel("ticks")
        for share, name in ((50, "median"), (99, "99 %")):
            if len(late_us):
                at = float(np.percentile(late_us, share))
                axes.axvline(at, color=GLOW, linewidth=1.2)
                axes.annotate(
                    name, (at, 1), xycoords=("data", "axes fraction"), xytext=(3, -10), textcoords="offset points"
                )
        return _svg(figure, "lateness")


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots()


def _shade(axes: Axes, t: NDArray[np.float64], where: NDArray[np.bool_], color: str) -> None:
    """Bands over the runs of True in `where`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], where, [False]]).astype(np.int8)))
    for start, end in edges.reshape(-1, 2):
        axes.axvspan(float(t[start]), float(t[min(end, len(t) - 1)]), color=color, alpha=0.15, linewidth=0)


def _svg(figure: Figure, salt: str) -> str:
    """The figure as an <svg> element; `salt` keeps the ids of several on one page apart."""
    sink = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": salt}):
        figure.savefig(sink, format="svg", transparent=True, metadata=BLANK_METADATA)
    text = sink.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    for color, name in PROPERTIES.items():
        text = text.replace(color, f"var({name})")
    return text
