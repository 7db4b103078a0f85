"""What `nas scale --fit` and `--train` do beside scaling, and print."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from nas.commands.telling import cost_line, interruptible
from nas.errors import NasError
from nas.quantities import show_count
from nas.terminal import say

if TYPE_CHECKING:
    from nas.scaling.fitted import Measured, ScalingFit
    from nas.scaling.ground import Ground
    from nas.scaling.records import Family


@dataclass(frozen=True)
class Trained:
    """What was asked of trainings, under the names of the options; None where nothing was."""

    fit: bool
    train: bool
    epochs: int | None
    seeds: int | None
    dataset: str | None
    limit_train: int | None
    seed: int | None
    data_dir: str | None

    @classmethod
    def taken_from(cls, settings: dict[str, Any]) -> Trained:
        """The record of these settings, which are taken out of the rest."""
        return cls(**{each.name: settings.pop(each.name) for each in dataclasses.fields(cls)})

    @property
    def asked(self) -> bool:
        return self.fit or self.train

    def check(self, phi: str | None, settings: dict[str, Any]) -> None:
        """Refuse options that would have no effect.

        Raises:
            NasError: they are named.
        """
        if not self.asked:
            self._refuse(("epochs", "seeds", "dataset", "limit_train", "seed"), "nothing is trained without --fit")
        elif not self.fit:
            self._refuse(("epochs", "seeds"), "--train trains as a trial is trained")
        if self.train and phi is None:
            raise NasError("--train trains the networks of a family: add --phi 1,2,3, or leave it out")
        if self.fit and settings["direction"] is not None:
            raise NasError("--fit looks for the direction: leave out --direction, or --fit")
        if self.seeds is not None:
            from nas.scaling.fitted import require_seeds

            require_seeds(self.seeds)
        if self.asked and settings["classes"] is not None:
            raise NasError("networks that are trained have the classes of their images: leave out --classes")

    def _refuse(self, names: tuple[str, ...], why: str) -> None:
        given = [f"--{name.replace('_', '-')}" for name in names if getattr(self, name) is not None]
        if given:
            raise NasError(f"{why}: leave out {' and '.join(given)}")

    def ground(self, what: str, settings: dict[str, Any]) -> Ground:
        """The images, recipe and seed of the trainings."""
        from nas.scaling.ground import find_ground
        from nas.training.memory import keep_memory

        keep_memory()
        names = ("resolution", "resolution_range", "storage", "study", "device")
        return find_ground(
            what,
            dataset=self.dataset,
            limit_train=self.limit_train,
            seed=self.seed,
            data_dir=self.data_dir,
            **{name: settings[name] for name in names},
        )

    def fitted(self, ground: Ground) -> ScalingFit:
        """Which direction suits the network."""
        from nas.scaling.fitted import fit_on

        seeds = 2 if self.seeds is None else self.seeds
        with interruptible() as stop:
            return fit_on(ground, self.epochs, seeds, say=say, stop=stop)

    def trained(self, family: Family, ground: Ground) -> Family:
        """The family with what its networks reached."""
        from nas.scaling.members import train_family

        with interruptible() as stop:
            return train_family(family, ground, say=say, stop=stop)


def print_fit(fit: ScalingFit) -> None:
    from nas.commands.scale_tables import table

    label = fit.start.name or fit.start.digest[:12]
    seeds = max(len(row.scores) for row in fit.rows)
    trained = f"{fit.epochs} epochs on {fit.dataset}, {seeds} seed{'s' if seeds > 1 else ''}"
    click.echo(f"{label} at {fit.start.resolution} px ({cost_line(fit.cost)}) at twice the MACs, {trained}")
    heading = ("", "direction", "shares", "params", "MACs", "activations", "pixels", "depth", "width", "accuracy", "±")
    click.echo(table([heading, *(_cells(row, row is fit.chosen) for row in fit.rows)]))
    for row in fit.rows:
        if row.candidate.same:
            click.echo(f"{row.candidate.name}: the same network as {', '.join(row.candidate.same)}")
    for each in fit.left_out:
        click.echo(f"{each.name} is left out: {each.reason}")
    for note in fit.refit:
        click.echo(note)
    depth, width, resolution = fit.direction.exponents
    law = fit.direction.law
    shares = f"depth {depth:.2f}, width {width:.2f}, resolution {resolution:.2f} of the growth"
    factors = f"alpha {law.alpha:.3f}, beta {law.beta:.3f}, gamma {law.gamma:.3f}"
    click.echo(f"fitted: {fit.direction.name}: {shares}; {factors}")
    click.echo(fit.why)


def _cells(row: Measured, chosen: bool) -> tuple[str, ...]:
    from nas.scaling.fitted import show_shares

    scaled = row.candidate.scaled
    counts = (scaled.cost.params, scaled.cost.macs, scaled.cost.activations)
    return (
        "->" if chosen else "",
        row.candidate.name,
        show_shares(row.candidate.shares),
        *map(show_count, counts),
        str(scaled.architecture.resolution),
        str(scaled.depth),
        str(scaled.width or ""),
        f"{row.mean:.2%}",
        f"{(max(row.scores) - min(row.scores)) / 2:.2%}" if len(row.scores) > 1 else "",
    )


def fit_document(fit: ScalingFit) -> dict[str, Any]:
    """The fit for --json."""
    verdict = fit.verdict
    return {
        "direction": fit.direction.name,
        "exponents": fit.direction.exponents,
        "law": dataclasses.asdict(fit.direction.law),
        "why": fit.why,
        "sure": verdict.sure,
        "gap": verdict.gap,
        "standard_error": verdict.error,
        "tied": [fit.rows[place].candidate.name for place in verdict.tied],
        "dataset": fit.dataset,
        "epochs": fit.epochs,
        "refit": fit.refit,
        "left_out": {each.name: each.reason for each in fit.left_out},
        "measured": [_row_document(row) for row in fit.rows],
    }


def _row_document(row: Measured) -> dict[str, Any]:
    candidate = row.candidate
    return {
        "direction": candidate.name,
        "same_network": candidate.same,
        "exponents": candidate.direction.exponents,
        "shares": candidate.shares,
        "val_accuracy": row.mean,
        "scores": row.scores,
        **dataclasses.asdict(candidate.scaled.cost),
        "resolution": candidate.scaled.architecture.resolution,
        "digest": candidate.digest,
    }
