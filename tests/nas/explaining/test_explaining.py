"""On studies whose truth is known, the findings tell it, and tell nothing of what is noise."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from statistics import mean

import pytest
from known_truth import WORTH, known_study

from nas.explaining.correlations import rank_correlation, rung_correlations, score_correlations
from nas.explaining.effects import choice_effects
from nas.explaining.evidence import Evidence, Scored
from nas.explaining.importance import importances
from nas.explaining.levels import adjusted
from nas.explaining.likeness import at_least, best_trials, in_common


@pytest.fixture(scope="module")
def known() -> Evidence:
    return known_study()


def test_what_decides_is_the_most_important_and_alone_clearly_above_chance(known: Evidence) -> None:
    found = importances(known)
    assert found[0].choice == "stage1/family"
    assert found[0].share > 0.5
    assert found[0].share > 2 * found[0].chance
    assert found[0].share > 2 * found[1].share
    assert sum(each.share for each in found) == pytest.approx(1)
    # Of the six others, which are noise, 1 in 20 stands above chance by chance.
    assert sum(each.above_chance for each in found) <= 2


@pytest.mark.parametrize("seed", range(4))
def test_fifty_trials_are_enough_for_what_decides_alone(seed: int) -> None:
    """With the best tenth as good, as Optuna has it, it came first in half of such studies."""
    assert importances(known_study(50, seed=seed))[0].choice == "stage1/family"


def test_without_any_truth_about_1_choice_in_20_stands_above_chance(known: Evidence) -> None:
    above = 0
    for seed in range(6):
        qualities = [trial.quality for trial in known.trials]
        random.Random(seed).shuffle(qualities)
        trials = tuple(replace(trial, quality=value) for trial, value in zip(known.trials, qualities, strict=True))
        above += sum(each.above_chance for each in importances(replace(known, trials=trials), seed=seed))
    assert above <= 6  # of 42


def test_a_choice_that_not_all_trials_have_rests_on_those_that_have_it(known: Evidence) -> None:
    counts = {each.choice: each.trials for each in importances(known)}
    having = sum("scaling/law" in trial.choices for trial in known.trials)
    assert 0 < having < len(known.trials)
    assert counts["scaling/law"] == having
    assert counts["stage1/family"] == len(known.trials)
    effects = next(choice.effects for choice in choice_effects(known) if choice.name == "scaling/law")
    assert sum(effect.trials for effect in effects) == having
    # The mean it is measured against is that of the trials that had it.
    assert sum(effect.difference * effect.trials for effect in effects) == pytest.approx(0, abs=1e-12)


def test_trials_that_a_person_named_have_no_choices_and_disturb_nothing(known: Evidence) -> None:
    named = tuple(replace(trial, choices={}) if trial.number % 10 == 0 else trial for trial in known.trials)
    found = importances(replace(known, trials=named))
    assert found[0].choice == "stage1/family"
    assert found[0].trials == len(known.trials) - 9
    assert choice_effects(replace(known, trials=named))


def test_nothing_is_said_of_choices_that_never_varied(known: Evidence) -> None:
    same = tuple(replace(trial, choices={"stage1/family": "conv"}) for trial in known.trials)
    assert importances(replace(known, trials=same)) == []
    assert choice_effects(replace(known, trials=same)) == []


def test_the_table_of_families_shows_their_worth_within_its_intervals(known: Evidence) -> None:
    first = next(choice for choice in choice_effects(known) if choice.name == "stage1/family")
    assert [effect.option for effect in first.effects] == ["residual", "conv", "dense"]
    counts = {effect.option: effect.trials for effect in first.effects}
    mean = sum(WORTH[option] * count for option, count in counts.items()) / len(known.trials)
    for effect in first.effects:
        assert effect.low is not None and effect.high is not None  # noqa: PT018
        # The trials that went on were lucky before: a part of the noise remains.
        assert effect.low - 0.005 <= WORTH[effect.option] - mean <= effect.high + 0.005
    second = next(choice for choice in choice_effects(known) if choice.name == "stage2/family")
    assert max(abs(effect.difference) for effect in second.effects) < 0.05


def test_going_on_is_no_merit() -> None:
    """Equal networks, a noisy first score, and the luckier half trained longer, which adds 0.25 for everybody."""
    equal = known_study(300, noise=0.0, luck=0.02, seed=3)
    alike = [trial for trial in equal.trials if trial.choices["stage1/family"] == "conv"]
    longer = [trial for trial in alike if 10 in trial.scores]
    shorter = [trial for trial in alike if 10 not in trial.scores]
    assert min(len(longer), len(shorter)) > 20

    def lead(value: Callable[[Scored], float]) -> float:
        return mean(map(value, longer)) - mean(map(value, shorter))

    assert lead(lambda trial: max(trial.scores.items())[1]) > 0.25
    assert lead(lambda trial: trial.quality) < 0.05  # their luck at the rung is in it


def test_quality_is_the_latest_score_less_what_its_length_adds() -> None:
    scores = [{1: 0.1}, {1: 0.3, 2: 0.5}, {1: 0.2, 2: 0.6}, {1: 0.2, 2: 0.7, 3: 0.9}]
    found = adjusted(scores)
    gain = (0.2 + 0.4 + 0.5) / 3
    assert found[:3] == pytest.approx([0.1, 0.5 - gain, 0.6 - gain])
    assert found[3] == pytest.approx(0.7 - gain)  # alone at the third level: it is measured by the second
    assert adjusted([{4: 0.5}, {4: 0.7}]) == [0.5, 0.7]


def test_a_true_score_is_told_from_noise(known: Evidence) -> None:
    found = {each.name: each for each in score_correlations(known)}
    assert list(found) == ["jacov", "zen", "params", "macs", "activations"]
    true, noise = found["jacov"].overall, found["zen"].overall
    assert true.low is not None and true.low > 0.8  # noqa: PT018
    assert noise.low is not None and noise.high is not None and noise.low < 0 < noise.high  # noqa: PT018
    assert found["zen"].better_half.trials == pytest.approx(len(known.trials) / 2, abs=1)
    assert found["activations"].overall.value is None  # all have the same: there are no ranks


def test_an_interval_of_noise_holds_0_as_often_as_it_says() -> None:
    rng = random.Random(0)
    held = 0
    for seed in range(100):
        first, second = ([rng.random() for _ in range(40)] for _ in range(2))
        found = rank_correlation(first, second, seed=seed)
        assert found.low is not None and found.high is not None  # noqa: PT018
        held += found.low <= 0 <= found.high
    assert 88 <= held <= 100


def test_a_rank_correlation_is_spearmans() -> None:
    from scipy.stats import spearmanr

    first, second = [1, 2, 2, 3, 9, 9], [2.0, 1.0, 4.0, 4.0, 5.0, 3.0]
    found = rank_correlation(first, second)
    assert found.value == pytest.approx(spearmanr(first, second).statistic)
    assert rank_correlation([1, 2, 3, 4], [1, 2, 3, 4]).value is None  # four trials say nothing
    assert rank_correlation(range(9), [x**3 for x in range(9)]).value == pytest.approx(1)


def test_a_rung_is_compared_over_the_trials_that_passed_both(known: Evidence) -> None:
    (pair,) = rung_correlations(known)
    assert (pair.short, pair.long) == (3, 10)
    assert pair.correlation.trials == sum(10 in trial.scores for trial in known.trials)
    assert pair.correlation.low is not None and pair.correlation.low > 0  # noqa: PT018
    three = replace(known, checkpoints=(1, 3, 10))
    assert [(each.short, each.long) for each in rung_correlations(three)] == [(1, 3), (3, 10), (1, 10)]
    assert rung_correlations(three)[0].correlation.trials == 0


def test_the_sentences_name_what_the_best_share_and_nothing_else(known: Evidence) -> None:
    sentences = in_common(known)
    count = len(best_trials(known))
    assert sentences[0].startswith(f"stage1/family is residual in {count} of the best {count}, and in ")
    assert not any("stage2" in sentence or "activation is" in sentence for sentence in sentences)
    none = tuple(replace(trial, choices={"activation": "relu"}) for trial in known.trials)
    assert "share no option" in in_common(replace(known, trials=none))[0]


def test_the_chance_of_sharing_is_that_of_drawing() -> None:
    assert at_least(0, 3, 5, 10) == 1
    assert at_least(3, 3, 3, 10) == pytest.approx(1 / math.comb(10, 3))
    assert at_least(1, 2, 1, 4) == pytest.approx(0.5)
