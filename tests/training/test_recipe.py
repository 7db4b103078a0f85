"""The recipe is a closed record; its rate goes up once, then down once or where the loss stays."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from nas.errors import NasError
from nas.training.recipe import YOUNGER, Recipe, fine_tuning, make_recipe, one_cycle, warm_up
from nas.training.seeds import derive_seed

STEPS = st.integers(1, 3000)
WARMUP = st.floats(0, 1)


@given(STEPS, WARMUP)
def test_the_rate_goes_up_once_and_down_once_within_0_and_1(steps: int, warmup: float) -> None:
    rates = [one_cycle(step, steps, warmup) for step in range(steps)]
    assert all(0 < rate <= 1 + 1e-9 for rate in rates)
    top = rates.index(max(rates))
    assert rates[: top + 1] == sorted(rates[: top + 1])
    falling = rates[top:]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(falling))


@given(STEPS, WARMUP)
def test_the_rate_reaches_its_peak_within_a_step(steps: int, warmup: float) -> None:
    rates = [one_cycle(step, steps, warmup) for step in range(steps)]
    slope = max(1 / max(1, warmup * steps), 1 / max(1, steps - warmup * steps))
    assert max(rates) >= 1 - slope - 1e-9


@given(st.integers(1000, 3000), st.floats(0, 0.9))
def test_the_rate_ends_near_0(steps: int, warmup: float) -> None:
    assert one_cycle(steps - 1, steps, warmup) <= 0.011


@pytest.mark.parametrize("steps", [1, 2])
def test_so_few_steps_are_taken_at_the_peak(steps: int) -> None:
    assert [one_cycle(step, steps, 0.2) for step in range(steps)] == [1.0] * steps


@pytest.mark.parametrize(
    "setting",
    [{"epochs": 0}, {"batch_size": 1}, {"learning_rate": 0.0}, {"momentum": 1.0}, {"weight_decay": -1.0},
     {"label_smoothing": 1.0}, {"warmup": 1.1}, {"gradient_clip": 0.0}, {"crop_padding": 1.0}, {"cutout": 2.0},
     {"learning_rate": float("nan")}, {"epochs": "3"}, {"colour": 1}, {"optimizer": "lion"}, {"optimizer": ["sgd"]},
     {"schedule": "step"}, {"plateau_factor": 1.0}, {"plateau_patience": -1}, {"frozen_epochs": 11}],
)  # fmt: skip
def test_a_setting_out_of_range_is_refused_by_its_name(setting: dict[str, object]) -> None:
    with pytest.raises(NasError, match=next(iter(setting))):
        make_recipe(**setting)


def test_a_recipe_is_frozen() -> None:
    recipe = Recipe()
    with pytest.raises(ValidationError):
        recipe.epochs = 3


def test_a_recipe_survives_json() -> None:
    recipe = Recipe(epochs=3, cutout=0.25)
    assert Recipe.model_validate_json(recipe.model_dump_json()) == recipe


@given(STEPS, WARMUP)
def test_a_plateau_is_reached_as_one_cycles_peak_is_and_kept(steps: int, warmup: float) -> None:
    rates = [warm_up(step, steps, warmup) for step in range(steps)]
    assert rates == sorted(rates)
    assert 0 < rates[0] <= rates[-1] == pytest.approx(1.0)
    rising = int(warmup * steps)
    cycle = [one_cycle(step, steps, warmup) for step in range(rising)]
    assert all(one <= other + 1e-12 for one, other in zip(cycle, rates, strict=False))


def test_the_default_rate_is_the_optimizers_own() -> None:
    assert Recipe().learning_rate == 1.0
    assert Recipe(optimizer="adam").learning_rate == 0.008
    assert Recipe(optimizer="adam", learning_rate=0.5).learning_rate == 0.5
    assert make_recipe(optimizer="adam", learning_rate=None).learning_rate == 0.008


STORED_BY_THE_FIRST_VERSION = {
    "epochs": 10, "batch_size": 128, "learning_rate": 1.0, "momentum": 0.9, "weight_decay": 5e-3,
    "label_smoothing": 0.1, "warmup": 0.2, "gradient_clip": 2.0, "crop_padding": 0.125, "cutout": 0.0, "bfloat16": True,
}  # fmt: skip


def test_a_recipe_stored_by_the_first_version_says_what_it_did() -> None:
    first = make_recipe(**YOUNGER, **STORED_BY_THE_FIRST_VERSION)
    assert first.optimizer == "sgd"
    assert {"epochs": 10, **first.settings()} == STORED_BY_THE_FIRST_VERSION
    assert set(Recipe.model_fields) == set(STORED_BY_THE_FIRST_VERSION) | set(YOUNGER)


def test_settings_show_what_is_unlike_the_first_versions() -> None:
    settings = Recipe(optimizer="adam", schedule="plateau").settings()
    first = Recipe(optimizer="sgd").settings()
    assert settings == first | {"optimizer": "adam", "schedule": "plateau", "learning_rate": 0.008}
    assert Recipe().settings() == first | {"optimizer": "muon"}


@pytest.mark.parametrize("epochs", [1, 2, 3, 10, 100])
@pytest.mark.parametrize("optimizer", ["muon", "sgd", "adam"])
def test_fine_tuning_freezes_the_trunk_first_and_then_learns_at_a_lower_rate(epochs: int, optimizer: str) -> None:
    scratch = make_recipe(epochs=epochs, optimizer=optimizer)
    recipe = make_recipe(**fine_tuning(scratch).model_dump())
    assert 1 <= recipe.frozen_epochs <= max(1, epochs / 4)
    frozen, whole = recipe.frozen_phase(), recipe.open_phase()
    assert (frozen.epochs + whole.epochs, frozen.frozen_epochs, whole.frozen_epochs) == (epochs, 0, 0)
    assert whole.learning_rate < scratch.learning_rate
    assert frozen.learning_rate == pytest.approx(10 * whole.learning_rate)
    assert whole.weight_decay < scratch.weight_decay
    assert fine_tuning(scratch, 0.3).open_phase().learning_rate == 0.3


def test_seeds_are_the_same_on_every_machine() -> None:
    assert derive_seed(0, "shuffle", 3) == 2386335075006008887
    assert derive_seed(0, "shuffle", 3) != derive_seed(0, "shuffle", 4)


@given(st.integers(0, 2**63 - 1), st.lists(st.integers() | st.text(), max_size=3))
def test_seeds_fit_a_signed_64_bit_column(seed: int, purpose: list[object]) -> None:
    assert 0 <= derive_seed(seed, *purpose) < 2**63
