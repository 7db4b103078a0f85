"""Search spaces: named choices, what may be chosen when, and the network that a set of choices stands for."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any, Protocol

from searchspace.architecture import Architecture
from searchspace.errors import SpaceError
from searchspace.laws import LAWS
from searchspace.scaling import compound

Option = int | float | str | bool
Choices = Mapping[str, Option]
PHI = "scaling/phi"
LAW = "scaling/law"


@dataclass(frozen=True)
class Task:
    """What the data ask of a network: colour channels, side of the square images in pixels, number of classes."""

    channels: int = 3
    resolution: int = 32
    classes: int = 10

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise SpaceError(f"a task has {name} of at least 1, given {value}")


DEFAULT_TASK = Task()


class Chooser(Protocol):
    """Optuna's words for asking a value; a `Trial` is one."""

    def suggest_categorical(self, name: str, choices: Any, /) -> Any: ...
    def suggest_int(self, name: str, low: int, high: int, /, *, step: int = 1) -> int: ...
    def suggest_float(self, name: str, low: float, high: float, /, *, step: float | None = None) -> float: ...


@dataclass(frozen=True)
class Dimension:
    """One choice among `options`; `ordered` options are rising numbers.

    `when` is (an earlier dimension, some of its options): this one is asked only if that one is active and has one of
    these values. One parent at most, so that the dimensions are a forest and can be counted.
    """

    name: str
    options: tuple[Option, ...]
    ordered: bool = False
    when: tuple[str, tuple[Option, ...]] | None = None

    def __post_init__(self) -> None:
        if not self.options or len(set(self.options)) != len(self.options):  # 1, 1.0 and True are one option
            raise SpaceError(f"dimension {self.name!r} needs options that differ, given {self.options}")
        if self.ordered:
            numbers = [option for option in self.options if _is_number(option)]
            if len(numbers) < len(self.options) or numbers != sorted(numbers):
                raise SpaceError(f"dimension {self.name!r} is ordered: its options must be rising numbers")

    def holds(self, value: object) -> bool:
        """Whether `value` is an option; True is not 1."""
        return any(value == option and isinstance(value, bool) == isinstance(option, bool) for option in self.options)

    @property
    def step(self) -> int | float | None:
        """The distance between ordered options, where these are evenly spaced as they are written in decimals, since
        Optuna drops the highest of others; None for all other dimensions.
        """
        if not self.ordered or len(self.options) < 2:
            return None
        if not all(math.isfinite(option) for option in self.options):  # type: ignore[arg-type]
            return None
        numbers = [Decimal(str(option)) for option in self.options]
        step = numbers[1] - numbers[0]
        if any(number != numbers[0] + step * place for place, number in enumerate(numbers)):
            return None
        return int(step) if all(isinstance(option, int) for option in self.options) else float(step)

    def ask(self, chooser: Chooser) -> Option:
        """Evenly spaced numbers go through `suggest_int` or `suggest_float`, so that samplers see their order."""
        step, low, high = self.step, self.options[0], self.options[-1]
        if isinstance(step, int) and isinstance(low, int) and isinstance(high, int):
            value = chooser.suggest_int(self.name, low, high, step=step)
        elif step is not None:
            given = chooser.suggest_float(self.name, low, high, step=step)  # type: ignore[arg-type]
            value = min(self.options, key=lambda option: abs(option - given))  # type: ignore[operator]
        else:
            value = chooser.suggest_categorical(self.name, self.options)
        if not self.holds(value):
            raise SpaceError(f"{self.name} must be one of {_listed(self.options)}, the sampler chose {value!r}")
        return value

    def encode(self, value: Option | None) -> list[float]:
        """Ordered: the place in 0..1, then 1 for active where it may not be. Unordered: one-hot. Zeros for None."""
        if not self.ordered:
            return [float(value is not None and option == value) for option in self.options]
        place = 0.0 if value is None else self.options.index(value) / max(1, len(self.options) - 1)
        return [place] if self.when is None else [place, float(value is not None)]


@dataclass(frozen=True)
class SearchSpace:
    """Dimensions, and the pure function from their values to a network before scaling.

    Choices hold the active dimensions alone, in order. `scaling_dimensions` adds compound scaling, which `decode`
    applies to what `body` returns; `body` need not look at them.
    """

    name: str
    summary: str
    dimensions: tuple[Dimension, ...]
    body: Callable[[Choices, Task], Architecture]

    def __post_init__(self) -> None:
        known: dict[str, Dimension] = {}
        for dimension in self.dimensions:
            if dimension.name in known:
                raise SpaceError(f"space {self.name!r} has two dimensions named {dimension.name!r}")
            if dimension.when is not None:
                parent, values = dimension.when
                if parent not in known:
                    raise SpaceError(f"dimension {dimension.name!r} depends on {parent!r}, which is not before it")
                if not values or not all(known[parent].holds(value) for value in values):
                    raise SpaceError(f"dimension {dimension.name!r} waits for {values}, no options of {parent!r}")
            known[dimension.name] = dimension

    def choose(self, chooser: Chooser) -> dict[str, Option]:
        """Ask for every active dimension, in order, and for no other; the chooser may be an Optuna trial."""
        return self._fill(lambda dimension: dimension.ask(chooser))

    def random(self, rng: random.Random) -> dict[str, Option]:
        """Choices drawn evenly, dimension by dimension."""
        return self._fill(lambda dimension: rng.choice(dimension.options))

    def base(self, choices: Choices, task: Task = DEFAULT_TASK) -> Architecture:
        """The network before compound scaling.

        Raises:
            SpaceError: the choices are not this space's.
        """
        self.check(choices)
        return self.body(choices, task)

    def decode(self, choices: Choices, task: Task = DEFAULT_TASK) -> Architecture:
        """The network after compound scaling; its resolution differs from the task's under laws that raise it.

        Raises:
            SpaceError: the choices are not this space's.
        """
        base, phi = self.base(choices, task), choices.get(PHI, 0)
        return base if phi == 0 else compound(base, float(phi), LAWS[str(choices[LAW])])

    def sample(self, chooser: Chooser, task: Task = DEFAULT_TASK) -> Architecture:
        """The scaled network of the chooser's choices."""
        return self.decode(self.choose(chooser), task)

    def mutate(self, choices: Choices, rng: random.Random) -> dict[str, Option]:
        """Other choices: one active dimension takes another value, newly active ones are drawn, inactive ones dropped.

        Raises:
            SpaceError: the choices are not this space's, or nothing in it can change.
        """
        self.check(choices)
        mutable = [item for item in self.dimensions if item.name in choices and len(item.options) > 1]
        if not mutable:
            raise SpaceError(f"space {self.name!r} holds one network: nothing can be mutated")
        chosen = rng.choice(mutable)
        others = [option for option in chosen.options if option != choices[chosen.name]]
        changed = {**choices, chosen.name: rng.choice(others)}
        return self._fill(lambda item: changed[item.name] if item.name in changed else rng.choice(item.options))

    def crossover(self, first: Choices, second: Choices, rng: random.Random) -> dict[str, Option]:
        """Each active dimension from a parent that has it, by a fair coin where both have; drawn where neither has.

        Raises:
            SpaceError: a parent's choices are not this space's.
        """
        self.check(first)
        self.check(second)

        def inherit(dimension: Dimension) -> Option:
            values = [parent[dimension.name] for parent in (first, second) if dimension.name in parent]
            return rng.choice(values or dimension.options)

        return self._fill(inherit)

    def encode(self, choices: Choices) -> tuple[float, ...]:
        """Numbers for surrogate models, equally many for all choices; different choices have different numbers."""
        self.check(choices)
        return tuple(number for item in self.dimensions for number in item.encode(choices.get(item.name)))

    def check(self, choices: Choices) -> None:
        """Refuse choices that `choose` could not have made.

        Raises:
            SpaceError: one is missing, unknown, inactive or out of range; the message names it.
        """
        for dimension in self._active(choices):
            if dimension.name not in choices:
                raise SpaceError(f"space {self.name!r}: {dimension.name} is missing")
            if not dimension.holds(choices[dimension.name]):
                given = choices[dimension.name]
                raise SpaceError(f"{dimension.name} must be one of {_listed(dimension.options)}, given {given!r}")
        known = {dimension.name: dimension for dimension in self.dimensions}
        for name in choices.keys() - {dimension.name for dimension in self._active(choices)}:
            if name not in known:
                raise SpaceError(f"space {self.name!r} has no dimension {name!r}")
            parent, values = known[name].when or ("", ())
            raise SpaceError(f"{name} is inactive: it is chosen only where {parent} is {_listed(values)}")

    @cached_property
    def size(self) -> int:
        """How many different choices there are, exactly."""
        children: dict[str | None, list[Dimension]] = {None: []}
        for item in self.dimensions:
            children.setdefault(item.when[0] if item.when else None, []).append(item)

        def below(item: Dimension, option: Option) -> int:
            active = (child for child in children.get(item.name, ()) if child.when and option in child.when[1])
            return math.prod(count(child) for child in active)

        def count(item: Dimension) -> int:
            return sum(below(item, option) for option in item.options)

        return math.prod(count(item) for item in children[None])

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) over name and dimensions, so that a study can refuse another space."""
        rows = [[item.name, item.options, item.ordered, item.when] for item in self.dimensions]
        return hashlib.sha256(json.dumps([self.name, rows]).encode()).hexdigest()

    def _active(self, choices: Choices) -> Iterator[Dimension]:
        """The dimensions to be chosen, given the values of those before them."""
        active: set[str] = set()
        for dimension in self.dimensions:
            parent, values = dimension.when or (None, ())
            if parent is None or (parent in active and choices.get(parent) in values):
                active.add(dimension.name)
                yield dimension

    def _fill(self, value: Callable[[Dimension], Option]) -> dict[str, Option]:
        choices: dict[str, Option] = {}
        for dimension in self._active(choices):  # reads what was chosen so far
            choices[dimension.name] = value(dimension)
        return choices


def scaling_dimensions(phis: tuple[float, ...], laws: tuple[str, ...]) -> tuple[Dimension, Dimension]:
    """The compound coefficient and, where it is not 0, the law it follows.

    Raises:
        SpaceError: a law is not in `LAWS`.
    """
    unknown = [law for law in laws if law not in LAWS]
    if unknown:
        raise SpaceError(f"no scaling law named {unknown[0]!r}: known are {', '.join(LAWS)}")
    phi = Dimension(PHI, phis, ordered=True)
    return phi, Dimension(LAW, laws, when=(PHI, tuple(value for value in phis if value != 0)))


def _is_number(option: Option) -> bool:
    return isinstance(option, int | float) and not isinstance(option, bool)


def _listed(options: Iterable[Option]) -> str:
    return ", ".join(str(option) for option in options)
