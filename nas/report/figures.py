"""The pictures of a study: which numbers of it stand on which axis."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from nas.explaining.correlations import RungCorrelation, scores_at
from nas.explaining.effects import Choice
from nas.explaining.evidence import Evidence
from nas.explaining.telling import show_option, show_points
from nas.quantities import show_count, show_duration, show_latency
from nas.report.axes import Axis, count_axis, from_zero, percent_axis
from nas.report.charts import Bar, Cell, Dot, bars, heat_map, plot
from nas.study_limits import LATENCY_MS, column_of, show_limit
from studies import COMPLETE, PRUNED

if TYPE_CHECKING:
    from nas.explaining.importance import Importance  # it loads Optuna, which `nas rank` must not

ACCURACY = "validation accuracy"
COST_LABELS = {
    "params": "parameters",
    "macs": "multiply-adds (MACs) for one image",
    "activations": "activations for one image",
    LATENCY_MS: "latency (ms) for one image",
}
MOST_BARS = 20


def accuracy_against_cost(
    study: str, frame: Any, front: Collection[int], cost: str, limits: Mapping[str, float]
) -> str | None:
    """Every scored trial by its cost, the Pareto front joined, the limits on this cost as lines; None without trials.

    `frame` is a leaderboard or all trials; a trial that ended early stands at its last accuracy, in grey.
    """
    scored = [row for row in frame.to_dict("records") if row["status"] in (COMPLETE, PRUNED)]
    scored = [row for row in scored if row["val_accuracy"] == row["val_accuracy"] and row[cost] == row[cost]]
    if not scored:
        return None
    dots = sorted(
        (_cost_dot(row, cost, row["trial"] in front) for row in scored), key=lambda dot: _DRAWN.index(dot.kind)
    )
    best = sorted((dot.x, dot.y) for dot in dots if dot.kind == "front-dot")
    own = {show_limit(name, limit): limit for name, limit in limits.items() if column_of(name) == cost}
    x = count_axis(COST_LABELS[cost], [*(row[cost] for row in scored), *own.values()], _show(cost))
    label = COST_LABELS[cost].split(" for ")[0]
    alternative = (
        f"{len(scored)} trials of study {study}, {len(best)} of them on the Pareto front: "
        + "; ".join(f"{up:.1%} at {_show(cost)(across)}" for across, up in best)
        + (f". Limits: {', '.join(own)}." if own else ".")
    )
    return plot(
        f"Accuracy against {label}", alternative, x, percent_axis(ACCURACY, [row["val_accuracy"] for row in scored]),
        dots, {"front": _stairs(best)}, own,
        [("front-dot", "Pareto front"), ("dot", "complete"), ("early", "ended early: its last accuracy")],
    )  # fmt: skip


_DRAWN = ("early", "dot", "front-dot")  # what lies on top comes last


def _cost_dot(row: Mapping[str, Any], cost: str, on_front: bool) -> Dot:
    kind = "front-dot" if on_front else "dot" if row["status"] == COMPLETE else "early"
    amount = show_latency(row[cost]) if cost == LATENCY_MS else f"{show_count(row[cost])} {cost}"
    words = f"trial {row['trial']}: {row['val_accuracy']:.2%}, {amount}, {row['epochs']} epochs"
    return Dot(row[cost], row["val_accuracy"], kind, words)


def _show(cost: str) -> Callable[[float], str]:
    return show_latency if cost == LATENCY_MS else show_count


def _stairs(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Between two points of a front the lower accuracy is the best at the cost."""
    corners = [(across, up) for (_, up), (across, _) in itertools.pairwise(points)]
    joined = itertools.chain.from_iterable(itertools.zip_longest(points, corners))
    return [point for point in joined if point is not None]


def progress(study: str, frame: Any, *, by_seconds: bool) -> str | None:
    """The best accuracy of a complete trial so far, over trials or over all seconds of training; None without any."""
    spent, best, dots, line = 0.0, 0.0, [], []
    for place, row in enumerate(frame.to_dict("records"), 1):
        spent += row["seconds"] if row["seconds"] == row["seconds"] else 0.0
        if row["status"] != COMPLETE or row["val_accuracy"] != row["val_accuracy"]:
            continue
        at = spent if by_seconds else float(place)
        if line:
            line.append((at, best))
        best = max(best, row["val_accuracy"])
        line.append((at, best))
        dots.append(Dot(at, row["val_accuracy"], "dot", f"trial {row['trial']}: {row['val_accuracy']:.2%}"))
    if not dots:
        return None
    end = spent if by_seconds else float(len(frame))
    line.append((end, best))
    x = from_zero("training time, all trials together", end, show_duration) if by_seconds else _trials_axis(end)
    over = "training time" if by_seconds else "trials"
    alternative = f"The best of study {study} rises from {line[0][1]:.1%} to {best:.1%} within {x.show(end)}."
    y = percent_axis(ACCURACY, [dot.y for dot in dots])
    return plot(f"The best so far, over {over}", alternative, x, y, dots, {"best": line},
                legend=[("dot", "a complete trial; the line is the best so far")])  # fmt: skip


def _trials_axis(end: float) -> Axis:
    return from_zero("trials, in their order", end, lambda mark: f"{mark:g}")


def early_against_late(evidence: Evidence, pair: RungCorrelation) -> str | None:
    """Each trial's accuracy after a short training against that after a longer one; None where none has both."""
    short, long = scores_at(evidence, pair.short, pair.long)
    if not short:
        return None
    numbers = [trial.number for trial in evidence.trials if {pair.short, pair.long} <= trial.scores.keys()]
    x = percent_axis(f"{ACCURACY} after epoch {pair.short}", short)
    y = percent_axis(f"{ACCURACY} after epoch {pair.long}", long)
    dots = [
        Dot(before, after, "dot", f"trial {number}: {before:.2%}, then {after:.2%}")
        for number, before, after in zip(numbers, short, long, strict=True)
    ]
    value = pair.correlation.value
    known = "too few for a rank correlation" if value is None else f"rank correlation {value:.2f}"
    title = f"After epoch {pair.short} and after epoch {pair.long}"
    return plot(title, f"{len(dots)} trials that reached both, {known}.", x, y, dots)


def importance_bars(found: list[Importance]) -> str | None:
    """The most important choices as bars; None where nothing can be said."""
    if not found:
        return None
    rows = [
        Bar(each.choice, each.share, each.chance, f"{each.choice}: {each.share:.0%}, {each.trials} trials")
        for each in found[:MOST_BARS]
    ]
    clear = [each.choice for each in found if each.above_chance]
    alternative = f"Above chance: {', '.join(clear) or 'none'}. First: {rows[0].name} with {rows[0].share:.0%}."
    label = "share of all importance; the red mark is what chance alone reaches in 1 of 20 shuffles"
    return bars("What mattered", alternative, label, rows)


def families_by_stage(choices: list[Choice]) -> str | None:
    """The effect of each block family in each stage as a heat map; None in a space without families."""
    return effects_by_stage(choices, "family", "Block families by stage")


def effects_by_stage(choices: list[Choice], part: str, title: str) -> str | None:
    """The effects of one part of the stages, its options as rows and the stages as columns."""
    shown = [choice for choice in choices if choice.part == part and choice.stage is not None]
    if not shown:
        return None
    rows = sorted({show_option(effect.option) for choice in shown for effect in choice.effects})
    cells = {
        (show_option(effect.option), f"stage {choice.stage}"): Cell(
            effect.difference,
            f"{show_points(effect.difference)} ({effect.trials})",
            f"{effect.option} in stage {choice.stage}: {show_points(effect.difference)} points, {effect.trials} trials",
        )
        for choice in shown
        for effect in choice.effects
    }
    best = [f"stage {choice.stage}: {max(choice.effects, key=lambda each: each.difference).option}" for choice in shown]
    label = "percentage points of accuracy against the mean of the stage (how many trials)"
    columns = [f"stage {choice.stage}" for choice in shown]
    return heat_map(title, f"The best in {'; '.join(best)}.", label, rows, columns, cells)
