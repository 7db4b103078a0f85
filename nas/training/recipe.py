"""How a network is trained: one frozen record, stored with every trial."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from nas.errors import NasError
from searchspace.errors import describe_validation
from searchspace.record import Fraction, Rate, Record

LEARNING_RATE = {"muon": 1.0, "sgd": 1.0, "adam": 8e-3}
KERNEL_STEP = 0.1  # Muon's at a rate of 1 and 128 images a batch, as a share of a kernel's norm
FINE_TUNING_RATE = {"sgd": 0.05, "adam": 1e-3}
FINAL_EPOCHS, FINAL_CUTOUT = 100, 0.25
RUNG_FACTOR = 3  # a rung comes after so many times the epochs of the one before, and one in so many passes it
LEAST_RUNG = 2  # epochs: after one the scores of a small data set are chance
YOUNGER: dict[str, Any] = {
    "optimizer": "sgd",
    "schedule": "one_cycle",
    "plateau_factor": 0.2,
    "plateau_patience": 2,
    "frozen_epochs": 0,
    "frozen_factor": 10.0,
    "rungs": (),
}
"""Fields that the first studies were stored without, and what those did."""


class Recipe(Record):
    """Gradient descent with a scheduled rate, clipped gradients and decoupled weight decay, the same for every family.

    `optimizer`: Muon (`nas.training.muon`) for the kernels of convolutions and SGD with Nesterov momentum for the
    rest; SGD for all; or Adam (Kingma and Ba 2015), whose first beta is `momentum`. `learning_rate` is the peak for 256
    images a batch, 1.0 for Muon and SGD and 0.008 for Adam where none is given; the rate used grows with the batch.

    `schedule`: one cycle (Smith 2018) rises over the share `warmup` of the steps and falls to zero; plateau rises
    alike, stays, and is multiplied by `plateau_factor` whenever more than `plateau_patience` epochs in a row did not
    lower the training loss (torch's ReduceLROnPlateau). It watches that loss and not the validation split, which ranks
    the networks and so has no say in their training.

    `weight_decay` is decoupled (Loshchilov and Hutter 2019): each step multiplies weights of two and more dimensions by
    1 - rate * weight_decay. Crop padding and cutout are shares of the image's side.

    `rungs`: epochs before the last at which a schedule of its own ends, at a rate of zero, so that a search can part
    with a network there; it goes on with the next schedule from the weights that it has.

    Fine-tuning: in the first `frozen_epochs` only the classifier learns, at `frozen_factor` times the rate; then all
    do. Each of the two phases has a schedule of its own.
    """

    epochs: int = Field(default=10, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=2, le=65536)
    optimizer: Literal["muon", "sgd", "adam"] = "muon"
    schedule: Literal["one_cycle", "plateau"] = "one_cycle"
    learning_rate: Annotated[float, Field(gt=0.0, le=100.0)] = LEARNING_RATE["muon"]
    momentum: Rate = 0.9
    weight_decay: Annotated[float, Field(ge=0.0, le=1.0)] = 5e-3
    label_smoothing: Rate = 0.1
    warmup: Fraction = 0.2
    plateau_factor: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    plateau_patience: int = Field(default=2, ge=0, le=100_000)
    gradient_clip: Annotated[float, Field(gt=0.0)] = 2.0
    crop_padding: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.125
    cutout: Fraction = 0.0
    bfloat16: bool = True
    frozen_epochs: int = Field(default=0, ge=0, le=100_000)
    frozen_factor: Annotated[float, Field(gt=0.0, le=1000.0)] = 10.0
    rungs: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _rate_of_the_optimizer(cls, given: Any) -> Any:
        if isinstance(given, dict) and "learning_rate" not in given:
            rate = LEARNING_RATE.get(str(given.get("optimizer", "muon")))
            return given if rate is None else given | {"learning_rate": rate}
        return given

    @field_validator("rungs", mode="before")
    @classmethod
    def _from_json(cls, given: Any) -> Any:
        return tuple(given) if isinstance(given, list) else given

    @model_validator(mode="after")
    def _phases_in_order(self) -> Self:
        if self.frozen_epochs > self.epochs:
            raise ValueError(f"frozen_epochs {self.frozen_epochs} are more than all {self.epochs} epochs")
        if min(self.schedules) < 1:
            raise ValueError(f"rungs are rising epochs before the last, {self.epochs}, given {self.rungs}")
        return self

    @property
    def rung_ends(self) -> tuple[int, ...]:
        """The last epoch of each schedule."""
        return (*self.rungs, self.epochs)

    @property
    def schedules(self) -> tuple[int, ...]:
        """The epochs of each schedule, which add up to `epochs`."""
        return tuple(end - before for before, end in zip((0, *self.rungs), self.rung_ends, strict=True))

    def peak_rate(self, batch_size: int) -> float:
        """The peak rate for batches of this size, which is below `batch_size` where the data are fewer."""
        return self.learning_rate * batch_size / 256

    def kernel_step(self, batch_size: int) -> float:
        """The share of its norm by which Muon changes a kernel at the peak of the schedule.

        With the third root of the batch it is 0.1 at 128 images, measured in docs/recipe.md, and 0.25 at 2,000, where
        the speed records use 0.24 (Jordan et al. 2024).
        """
        return KERNEL_STEP * self.learning_rate * (batch_size / 128) ** (1 / 3)

    def rate_share(self, step: int, steps: int) -> float:
        """The schedule's share of the peak at `step` of `steps`, but for what a plateau took off."""
        shape = one_cycle if self.schedule == "one_cycle" else warm_up
        return shape(step, steps, self.warmup)

    def frozen_phase(self) -> Recipe:
        """The epochs in which only the classifier learns, as a training of its own."""
        rate = self.learning_rate * self.frozen_factor
        return self.model_copy(update={"epochs": self.frozen_epochs, "learning_rate": rate, "frozen_epochs": 0})

    def open_phase(self) -> Recipe:
        """The epochs after those, in which all parameters learn."""
        return self.model_copy(update={"epochs": self.epochs - self.frozen_epochs, "frozen_epochs": 0})

    def settings(self) -> dict[str, Any]:
        """What a study is compared by when it is resumed; without younger fields that are as at first, when they were
        not stored: plain JSON, as it is read back.

        The number of epochs is a setting of its own.
        """
        same = {name for name, first in YOUNGER.items() if getattr(self, name) == first}
        return self.model_dump(mode="json", exclude={"epochs"} | same)


def make_recipe(**settings: Any) -> Recipe:
    """A recipe from settings given by a person; None is a setting's default.

    Raises:
        NasError: a setting is out of its range.
    """
    try:
        return Recipe(**{name: value for name, value in settings.items() if value is not None})
    except ValidationError as error:
        raise NasError(describe_validation(error, whole="recipe")) from None


def rungs_for(epochs: int) -> tuple[int, ...]:
    """The rungs of a training of `epochs`: after a third of them, a third of that, down to two epochs.

    10 has one after 3, 40 has two after 4 and 13; below 6 there are none. docs/search.md has what was measured.
    """
    rungs: list[int] = []
    while (epochs := epochs // RUNG_FACTOR) >= LEAST_RUNG:
        rungs.insert(0, epochs)
    return tuple(rungs)


def final_recipe(recipe: Recipe, epochs: int | None = None) -> Recipe:
    """The recipe for a search's winner: as a trial's, but for FINAL_EPOCHS, or `epochs`, and with cutout.

    A long training sees every image often, so its augmentation is stronger (DeVries and Taylor 2017).

    Raises:
        NasError: not a number of epochs.
    """
    changes = {"epochs": FINAL_EPOCHS if epochs is None else epochs, "cutout": FINAL_CUTOUT, "rungs": ()}
    return make_recipe(**recipe.model_dump() | changes)


def fine_tuning(recipe: Recipe, learning_rate: float | None = None) -> Recipe:
    """The recipe for weights that are learnt already: a quarter of the epochs with a frozen trunk, and less decay.

    Without a `learning_rate` it is the optimizer's in FINE_TUNING_RATE, lower than from scratch. SGD takes Muon's
    place, which keeps the norms of kernels and changes all their directions at once: no way to stay near what was
    learnt.
    """
    optimizer = "sgd" if recipe.optimizer == "muon" else recipe.optimizer
    changes = {
        "optimizer": optimizer,
        "frozen_epochs": max(1, recipe.epochs // 4),
        "weight_decay": 1e-3,
        "learning_rate": FINE_TUNING_RATE[optimizer] if learning_rate is None else learning_rate,
    }
    return recipe.model_copy(update=changes)


def one_cycle(step: int, steps: int, warmup: float) -> float:
    """The rate's share of its peak at `step` of `steps`: linearly up over `warmup` of them, then linearly to zero."""
    peak = max(1.0, warmup * steps)
    return min(1.0, (step + 1) / peak, (steps - step) / max(1.0, steps - peak))


def warm_up(step: int, steps: int, warmup: float) -> float:
    """The rate's share of its peak at `step` of `steps`: linearly up over `warmup` of them, then all of it."""
    return min(1.0, (step + 1) / max(1.0, warmup * steps))
