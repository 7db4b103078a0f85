"""Choices are asked for, counted, changed and numbered by rules that hold for any space."""

from __future__ import annotations

import itertools
import math
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

from searchspace import (
    LAWS,
    SPACES,
    Architecture,
    Dimension,
    SearchSpace,
    SpaceError,
    Stage,
    Task,
    compound,
    cost,
    find_space,
    register_space,
    scaling_dimensions,
)
from searchspace.blocks import Conv
from searchspace.space import LAW, PHI

optuna.logging.set_verbosity(optuna.logging.WARNING)


def body(choices, task: Task) -> Architecture:
    stage = Stage(block=Conv(width=int(choices["width"])), depth=int(choices.get("extra/depth", 1)))
    return Architecture(channels=task.channels, resolution=task.resolution, classes=task.classes, stages=(stage,))


DIMENSIONS = (
    Dimension("width", (8, 16, 24), ordered=True),
    Dimension("extra", ("no", "yes", "much")),
    Dimension("extra/depth", (2, 3, 5), ordered=True, when=("extra", ("yes", "much"))),
    Dimension("extra/odd", (False, True), when=("extra/depth", (3, 5))),
    Dimension("rate", (0.0, 0.1, 0.2, 0.3), ordered=True),
    *scaling_dimensions((0.0, 1.0), ("width", "depth")),
)
SMALL = SearchSpace("small", "for tests", DIMENSIONS, body)
EVERY = [SMALL, *SPACES.values()]


class Recorder:
    """A chooser that takes the last value and notes how it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[Any, ...]] = []

    def suggest_categorical(self, name: str, choices: Any) -> Any:
        self.asked.append(("categorical", name, tuple(choices)))
        return choices[-1]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        self.asked.append(("int", name, low, high, step))
        return high

    def suggest_float(self, name: str, low: float, high: float, *, step: float | None = None) -> float:
        self.asked.append(("float", name, low, high, step))
        return high


def enumerated(space: SearchSpace) -> set[tuple[tuple[str, Any], ...]]:
    """Every dictionary of choices, from the product over all dimensions, active or not."""
    found = set()
    for values in itertools.product(*(dimension.options for dimension in space.dimensions)):
        given = dict(zip((dimension.name for dimension in space.dimensions), values, strict=True))
        found.add(tuple(space.choose(optuna.trial.FixedTrial(given)).items()))
    return found


@pytest.fixture(params=EVERY, ids=lambda space: space.name)
def space(request) -> SearchSpace:
    return request.param


@pytest.fixture
def drawn(space) -> Iterator[dict[str, Any]]:
    rng = random.Random(3)
    return (space.random(rng) for _ in range(100))


class TestChoosing:
    def test_asks_for_active_dimensions_alone_in_order_and_through_the_fitting_word(self):
        chooser = Recorder()
        choices = SMALL.choose(chooser)
        assert chooser.asked == [
            ("int", "width", 8, 24, 8),
            ("categorical", "extra", ("no", "yes", "much")),
            ("categorical", "extra/depth", (2, 3, 5)),  # ordered, but not evenly spaced
            ("categorical", "extra/odd", (False, True)),
            ("float", "rate", 0.0, 0.3, 0.1),
            ("float", PHI, 0.0, 1.0, 1.0),
            ("categorical", LAW, ("width", "depth")),
        ]
        assert list(choices) == [asked[1] for asked in chooser.asked]

    @pytest.mark.parametrize(
        "sampler",
        [
            lambda: optuna.samplers.TPESampler(multivariate=True, group=True, n_startup_trials=8, seed=0),
            lambda: optuna.samplers.RandomSampler(seed=0),
            lambda: optuna.samplers.NSGAIISampler(population_size=6, seed=0),
        ],
        ids=["tpe", "random", "nsga2"],
    )
    def test_any_optuna_sampler_drives_it_and_keeps_the_choices_as_parameters(self, space, sampler):
        study = optuna.create_study(sampler=sampler())
        seen = []

        def objective(trial: optuna.Trial) -> float:
            choices = space.choose(trial)
            space.check(choices)
            assert trial.params == choices
            assert [type(value) for value in trial.params.values()] == [type(value) for value in choices.values()]
            seen.append(choices)
            return sum(space.encode(choices))

        study.optimize(objective, n_trials=20)
        assert [trial.params for trial in study.trials] == seen
        assert len({tuple(choices.items()) for choices in seen}) > 10

    def test_a_fixed_trial_gives_its_choices_back(self, space, drawn):
        for choices in drawn:
            assert space.choose(optuna.trial.FixedTrial(choices)) == choices

    def test_sampling_is_decoding_what_was_chosen(self, space, drawn):
        choices = next(drawn)
        task = Task(1, 16, 7)
        assert space.sample(optuna.trial.FixedTrial(choices), task) == space.decode(choices, task)

    def test_a_value_outside_the_options_is_refused(self):
        with pytest.raises(SpaceError, match="width must be one of 8, 16, 24, the sampler chose 12"):
            Dimension("width", (8, 16, 24), ordered=True).ask(type("Off", (), {"suggest_int": lambda *a, **k: 12})())

    def test_random_choices_reach_every_option(self, space):
        rng = random.Random(0)
        draws = [space.random(rng) for _ in range(600)]
        for dimension in space.dimensions:
            seen = {choices[dimension.name] for choices in draws if dimension.name in choices}
            assert seen == set(dimension.options), dimension.name


class TestSize:
    def test_equals_an_enumeration(self):
        assert SMALL.size == len(enumerated(SMALL)) == 3 * (1 + 2 * (1 + 2 * 2)) * 4 * 3

    def test_an_enumeration_notices_a_lost_condition(self):
        """The control: the same dimensions without the conditions are more."""
        flat = SearchSpace("flat", "", tuple(Dimension(d.name, d.options, d.ordered) for d in DIMENSIONS), body)
        assert flat.size == len(enumerated(flat)) > SMALL.size

    def test_distinguishes_children_that_share_a_parent(self):
        dimensions = (
            Dimension("a", (1, 2), ordered=True),
            Dimension("b", ("x", "y"), when=("a", (1,))),
            Dimension("c", (1, 2, 3), ordered=True, when=("a", (1, 2))),
        )
        space = SearchSpace("two", "", dimensions, body)
        assert space.size == len(enumerated(space)) == 2 * 3 + 3


class TestCheck:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"width": None}, "width is missing"),
            ({"width": 9}, "width must be one of 8, 16, 24, given 9"),
            ({"extra/odd": 1}, "extra/odd must be one of False, True, given 1"),
            ({"height": 3}, "no dimension 'height'"),
            ({"extra": "no"}, "is inactive"),
            ({PHI: 0.0}, f"{LAW} is inactive: it is chosen only where {PHI} is 1.0"),
        ],
    )
    def test_names_what_is_wrong(self, change, message):
        choices = SMALL.choose(Recorder()) | change
        choices = {name: value for name, value in choices.items() if value is not None}
        for reader in (SMALL.check, SMALL.decode, SMALL.base, SMALL.encode):
            with pytest.raises(SpaceError, match=message):
                reader(choices)
        with pytest.raises(SpaceError, match=message):
            SMALL.mutate(choices, random.Random(0))
        with pytest.raises(SpaceError, match=message):
            SMALL.crossover(choices, SMALL.choose(Recorder()), random.Random(0))

    def test_takes_what_was_drawn(self, space, drawn):
        for choices in drawn:
            space.check(choices)


class TestMutation:
    def test_changes_one_dimension_and_what_hangs_on_it(self, space, drawn):
        rng = random.Random(1)
        for choices in drawn:
            mutant = space.mutate(choices, rng)
            space.check(mutant)
            assert len(changed(choices, mutant)) == 1
            roots = {root(space, name) for name in changed(choices, mutant)}
            moved = choices.keys() ^ mutant.keys()
            assert all(root(space, name) in roots for name in moved)

    def test_leaves_the_parent_alone_and_follows_the_generator(self, space, drawn):
        choices = next(drawn)
        before = dict(choices)
        assert space.mutate(choices, random.Random(5)) == space.mutate(choices, random.Random(5))
        assert choices == before

    def test_reaches_every_active_dimension(self, space, drawn):
        choices, rng = next(drawn), random.Random(2)
        reached = {name for _ in range(500) for name in changed(choices, space.mutate(choices, rng))}
        assert reached == set(choices)

    def test_a_space_of_one_network_cannot_mutate(self):
        only = SearchSpace("only", "", (Dimension("width", (8,), ordered=True),), body)
        with pytest.raises(SpaceError, match="nothing can be mutated"):
            only.mutate({"width": 8}, random.Random(0))


def changed(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {name for name in before.keys() & after.keys() if before[name] != after[name]}


def root(space: SearchSpace, name: str) -> str:
    parents = {dimension.name: dimension.when for dimension in space.dimensions}
    when = parents[name]
    return name if when is None else root(space, when[0])


class TestCrossover:
    def test_every_choice_comes_from_a_parent_that_has_it(self, space, drawn):
        rng = random.Random(1)
        for first, second in itertools.pairwise(drawn):
            child = space.crossover(first, second, rng)
            space.check(child)
            for name in child.keys() & (first.keys() | second.keys()):
                assert child[name] in [parent[name] for parent in (first, second) if name in parent]

    def test_mixes_both_parents(self, space):
        rng = random.Random(4)
        first, second = space.random(rng), space.random(rng)
        children = [space.crossover(first, second, rng) for _ in range(50)]
        assert any(child not in (first, second) for child in children)

    def test_a_child_of_twins_is_their_equal(self, space, drawn):
        choices = next(drawn)
        assert space.crossover(choices, choices, random.Random(0)) == choices


class TestEncoding:
    def test_small_example(self):
        choices = {"width": 16, "extra": "yes", "extra/depth": 2, "rate": 0.3, PHI: 1.0, LAW: "depth"}
        assert SMALL.encode(choices) == (0.5, 0, 1, 0, 0.0, 1, 0, 0, 1.0, 1.0, 0, 1)
        assert SMALL.encode({"width": 8, "extra": "no", "rate": 0.0, PHI: 0.0}) == (
            0.0,
            1,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        )

    def test_has_one_length_and_tells_choices_apart(self, space, drawn):
        codes = {tuple(choices.items()): space.encode(choices) for choices in drawn}
        assert len({len(code) for code in codes.values()}) == 1
        assert len(set(codes.values())) == len(codes)
        assert all(0 <= number <= 1 for code in codes.values() for number in code)

    def test_tells_all_choices_of_a_space_apart(self):
        assert len({SMALL.encode(dict(choices)) for choices in enumerated(SMALL)}) == SMALL.size


class TestDigest:
    def test_follows_names_options_order_and_conditions(self):
        first, *rest = DIMENSIONS
        others = [
            SearchSpace("other", "for tests", DIMENSIONS, body),
            SearchSpace("small", "for tests", (Dimension("width", (8, 16), ordered=True), *rest), body),
            SearchSpace("small", "for tests", (Dimension("width", (8, 16, 24)), *rest), body),
            SearchSpace("small", "for tests", (*rest, first), body),
        ]
        assert len({space.digest for space in [SMALL, *others]}) == 5

    def test_ignores_the_summary_and_survives_a_new_interpreter(self):
        assert SearchSpace("small", "reworded", DIMENSIONS, body).digest == SMALL.digest
        line = "import searchspace; print(*(space.digest for space in searchspace.SPACES.values()))"
        printed = subprocess.run([sys.executable, "-c", line], check=True, capture_output=True, text=True).stdout
        assert printed.split() == [space.digest for space in SPACES.values()]

    def test_true_is_not_one(self):
        spaces = [SearchSpace("s", "", (Dimension("a", (value,)),), body) for value in (1, True, 1.0, "1")]
        assert len({space.digest for space in spaces}) == 4


class TestDefinition:
    @pytest.mark.parametrize(
        ("dimensions", "message"),
        [
            ((DIMENSIONS[0], DIMENSIONS[0]), "two dimensions named 'width'"),
            ((DIMENSIONS[2], DIMENSIONS[1]), "which is not before it"),
            ((DIMENSIONS[1], Dimension("a", (1,), when=("extra", ("maybe",)))), "no options of 'extra'"),
        ],
    )
    def test_a_space_that_is_no_forest_is_refused(self, dimensions, message):
        with pytest.raises(SpaceError, match=message):
            SearchSpace("wrong", "", dimensions, body)

    @pytest.mark.parametrize(
        ("options", "ordered"),
        [((), False), ((1, 1), False), ((2, 1), True), (("a", "b"), True), ((False, True), True)],
    )
    def test_options_that_make_no_sense_are_refused(self, options, ordered):
        with pytest.raises(SpaceError, match="'a'"):
            Dimension("a", options, ordered)

    def test_spaces_and_tasks_travel_between_processes(self, space):
        assert pickle.loads(pickle.dumps(space)) == space
        with pytest.raises(SpaceError, match="resolution of at least 1, given 0"):
            Task(resolution=0)


class TestScaling:
    @pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
    def test_every_law_doubles_the_multiply_adds(self, law):
        assert law.growth == pytest.approx(2, rel=0.05)
        assert min(law.alpha, law.beta, law.gamma) >= 1

    def test_base_and_scaled_network_come_from_the_same_choices(self, space, drawn):
        scaled = 0
        for choices in drawn:
            base, network = space.base(choices), space.decode(choices)
            if choices[PHI] == 0:
                assert network == base
            else:
                assert network == compound(base, choices[PHI], LAWS[choices[LAW]])
                scaled += cost(network).macs > cost(base).macs if scaled < 5 else 1
        assert scaled > 20

    def test_an_unknown_law_is_refused(self):
        with pytest.raises(SpaceError, match="no scaling law named 'tall'"):
            scaling_dimensions((0.0, 1.0), ("tall",))


class TestGuide:
    """docs/spaces.md says what is so."""

    guide = (Path(__file__).parents[2] / "docs" / "spaces.md").read_text()

    def test_its_code_runs(self, monkeypatch):
        monkeypatch.setattr("searchspace.spaces.SPACES", dict(SPACES))
        blocks = re.findall(r"```python\n(.*?)```", self.guide, re.DOTALL)
        assert len(blocks) == 2
        for block in blocks:
            exec(block, {})
        own = find_space("two-stage")
        assert own.size == 3 * (1 + 3) * 3
        assert cost(own.decode(own.random(random.Random(0)))).params > 0

    @pytest.mark.parametrize("name", SPACES)
    def test_its_sizes_are_the_spaces(self, name):
        space = SPACES[name]
        row = next(line for line in self.guide.splitlines() if line.startswith(f"| `{name}` |"))
        assert f"| {len(space.dimensions)} (" in row
        assert f"| {space.size:,} " in row


class TestTable:
    def test_finds_spaces_by_name(self):
        assert find_space("cifar") is SPACES["cifar"]
        with pytest.raises(SpaceError, match=r"no search space named 'cifr': did you mean 'cifar'\?"):
            find_space("cifr")

    def test_a_space_of_ones_own_is_found_and_cannot_replace_another(self, monkeypatch):
        monkeypatch.setattr("searchspace.spaces.SPACES", dict(SPACES))
        register_space(SMALL)
        register_space(SearchSpace("small", "for tests", DIMENSIONS, body))
        assert find_space("small") is SMALL
        with pytest.raises(SpaceError, match="'small' exists with other dimensions"):
            register_space(SearchSpace("small", "", DIMENSIONS[:2], body))


@pytest.mark.parametrize(
    "options",
    [(0.7, 0.8, 0.9), (0.1, 0.4, 0.7), (0.7, 0.8, 0.9, 1.0), (1, 1.5, 2), (1 / 3, 2 / 3, 1.0), (0.5, math.inf)],
)
def test_every_ordered_option_can_be_chosen(options: tuple[float, ...]) -> None:
    dimension, study = Dimension("factor", options, ordered=True), optuna.create_study()
    study.sampler = optuna.samplers.RandomSampler(seed=0)
    assert {dimension.ask(study.ask()) for _ in range(60)} == set(options)


@pytest.mark.parametrize("options", [(0, False), (1, 1.0), (True, 1)])
def test_options_that_are_equal_do_not_differ(options: tuple[Any, ...]) -> None:
    with pytest.raises(SpaceError, match="options that differ"):
        Dimension("a", options)
