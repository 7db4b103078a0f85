"""A confirmation in words: what it will take, and what it found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from nas.confirming.chance import Lead
from nas.confirming.result import Confirmation, Standing
from nas.quantities import show_count, show_duration
from nas.result import TrialResult

if TYPE_CHECKING:
    from nas.confirming.run import Job


def outlook(
    trials: Sequence[TrialResult],
    top: int,
    left_out: Mapping[str, str],
    planned: Sequence[Job],
    waiting: Sequence[Job],
) -> Iterator[str]:
    """What will be trained, and about how long that takes by the study's measured seconds."""
    if len(trials) < top:
        yield f"the study has {len(trials)} complete trials, fewer than the {top} asked for: all of them are taken"
    for name, reason in left_out.items():
        yield f"without {name}: {reason}"
    done = len(planned) - len(waiting)
    recorded = f", {done} of which are recorded already" if done else ""
    epochs = sum(job.recipe.epochs for job in waiting)
    times = [job.seconds for job in waiting if job.seconds is not None]
    took = f"about {show_duration(sum(times))}" if len(times) == len(waiting) else "an unknown time"
    left = f"; {epochs} epochs are left, which take {took}" if waiting else ""
    yield f"{len(planned)} training{'s' * (len(planned) != 1)}{recorded}{left}"


def table(found: Confirmation) -> list[tuple[str, ...]]:
    """The rows to print, the winner's marked; times are those of all seeds together."""
    head = (
        "",
        "network",
        "search",
        "validation",
        "+-95%",
        "seeds",
        "params",
        "MACs",
        "epochs",
        "time",
        "test",
        "+-95%",
    )
    others = sorted(found.baselines, key=lambda one: -(one.mean or 0.0))
    return [head, *(_cells(one, found) for one in (*found.ranked, *others))]


def _cells(one: Standing, found: Confirmation) -> tuple[str, ...]:
    who = one.contestant
    name = who.name if who.role == "leader" else f"{who.name} ({who.role})" if who.role != "random" else who.name
    return (
        "->" if one is found.winner else "",
        name,
        _share(who.search_val_accuracy),
        _share(one.mean),
        _points(one.half_width),
        f"{len(one.scores)}/{len(one.trainings)}",
        show_count(who.cost.params),
        show_count(who.cost.macs),
        str(found.epochs),
        show_duration(one.seconds),
        _share(one.test_mean if found.shows_test(one) else None),
        _points(one.test_half_width if found.shows_test(one) else None),
    )


def conclusions(found: Confirmation) -> Iterator[str]:
    """What the numbers allow to be said, in plain lines."""
    winner = found.winner
    over = f"over {len(winner.scores)} seed{'s' * (len(winner.scores) != 1)}"
    yield f"winner: {winner.contestant.name}, mean validation accuracy {_share(winner.mean)} {over}{_tested(found)}"
    yield _second(found)
    for one in sorted(found.baselines, key=lambda one: -(one.mean or 0.0)):
        if one.scores:
            yield f"  against {one.contestant.name}: {_against(winner.ahead_of(one))}"
    yield from _search(found)
    yield from (f"  {one.contestant.name}: {one.contestant.note}" for one in found.baselines if one.contestant.note)
    yield from _random(found)
    yield from (f"  {name} was left out: {reason}" for name, reason in found.left_out.items())
    yield from _failures(found)


def _tested(found: Confirmation) -> str:
    if found.test_images is None:
        return "; the data have no test split"
    if found.winner.test_mean is None:
        return "; not tested, its weights are gone"
    return f"; test accuracy {_share(found.winner.test_mean)} on {found.test_images:,} images"


def _second(found: Confirmation) -> str:
    lead = found.lead
    if lead is None:
        return "there is no second leader to compare it with"
    name = found.ranked[1].contestant.name
    if found.sure:
        return f"ahead of {name} by {_against(lead)}"
    advice = "two seeds or more would tell" if lead.half_width is None else "more seeds may tell"
    return f"not told apart from {name}: {_against(lead)}; {advice}"


def _against(lead: Lead) -> str:
    """The lead with its interval, and what that means."""
    points = f"{100 * lead.mean:+.2f} points"
    if lead.half_width is None:
        return f"{points} in {lead.pairs} pair{'s' * (lead.pairs != 1)} of seeds, of which chance is unknown"
    low, high = 100 * (lead.mean - lead.half_width), 100 * (lead.mean + lead.half_width)
    meaning = "more than chance" if low > 0 or high < 0 else "no more than chance"
    return f"{points}, {meaning} (95 % interval {low:+.2f} to {high:+.2f}, {lead.pairs} pairs of seeds)"


def _search(found: Confirmation) -> Iterator[str]:
    who = found.winner.contestant
    place = [one.contestant.trial for one in found.leaders].index(who.trial) + 1
    yield (
        f"in the search it scored {_share(who.search_val_accuracy)} and was place {place} of {len(found.leaders)}; "
        "that score was picked as one of the highest, by another recipe: the mean above was not"
    )


def _random(found: Confirmation) -> Iterator[str]:
    search = found.random_search
    if search is None:
        return
    yield (
        f"  random: the best of {search.trained - search.failed} drawn within 15 % of {show_count(found.macs)} MACs, "
        f"by {search.epochs} epochs of the trial recipe each, {show_duration(search.seconds)} in all"
    )
    if search.unchecked_limits:
        yield f"  random: limits of the study that were not checked: {', '.join(search.unchecked_limits)}"


def _failures(found: Confirmation) -> Iterator[str]:
    for one in found.standings:
        for training in one.failed:
            yield f"  {one.contestant.name} failed with one seed: {training.reason}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f}"
