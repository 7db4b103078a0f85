"""A forecast of a search, and its words: one line ahead of every search, a table for `--dry-run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from nas.foresight.survey import Spread
from nas.quantities import show_count, show_duration, show_latency, show_seconds


@dataclass(frozen=True)
class Forecast:
    """What a search would meet and take. Spreads are over the drawn networks that keep the limits.

    `memory` is an estimate in bytes of a training's tensors (`nas.training.footprint`). `trial_seconds` are those of a
    trial that no pruner ends; None where nothing could be measured. `measured_networks` were timed for it, or
    `measured_trials` of this study tell the time. `latency` is in milliseconds, where it is limited: of `latencies`
    networks that keep the counted limits, of which `quick_enough` keep that one too. `seconds` is what the trials that
    are left will take.
    """

    space: str
    size: int
    drawn: int
    exact: bool
    share: float
    limits: str
    params: Spread
    macs: Spread
    activations: Spread
    memory: Spread
    latency: Spread | None
    latencies: int
    quick_enough: int
    trial_seconds: Spread | None
    measured_networks: int
    measured_trials: int
    budget: int
    left: int
    workers: int
    seconds: float | None
    time_limit: float | None

    @property
    def line(self) -> str:
        """What fits into a line."""
        fit = f", {self.share_text} {self.limits}" if self.limits else ""
        fit += f" ({self.quick_text})" if self.latencies else ""
        return f"{self.size_text} networks{fit}; {self.time_text}"

    @property
    def table(self) -> Iterator[str]:
        """All of it, line by line."""
        drawn = f"all {self.drawn:,}" if self.exact else f"{self.drawn:,} drawn"
        fit = f", {self.share_text} {self.limits}" if self.limits else ""
        yield f"space {self.space}: {self.size_text} networks{fit} ({drawn})"
        yield f"{'':12}{'smallest':>14}{'median':>14}{'largest':>14}"
        yield _row("params", self.params, show_count)
        yield _row("MACs", self.macs, show_count)
        yield _row("activations", self.activations, show_count)
        yield (
            _row("memory", self.memory, lambda count: f"{show_count(count)}B") + "  estimated, of a training's tensors"
        )
        if self.latency is not None:
            yield _row("latency", self.latency, show_latency) + f"  {self.quick_text}"
        if self.trial_seconds is not None:
            yield _row("trial", self.trial_seconds, show_seconds) + f"  {self.basis}"
        yield f"budget of {self.budget}: {self.time_text}"

    @property
    def size_text(self) -> str:
        return f"{self.size:,}" if self.size < 10**7 else f"{self.size:.2e}".replace("e+", "e")

    @property
    def share_text(self) -> str:
        if self.share == 0.0:
            return f"under {100 / max(1, self.drawn):.1g} % fit"
        return f"{100 * self.share:.0f} % fit" if self.share >= 0.01 else f"{100 * self.share:.2g} % fit"

    @property
    def quick_text(self) -> str:
        """How many of the measured networks are quick enough; the share of all that fit is of what is counted."""
        return f"{self.quick_enough} of {self.latencies} measured are quick enough"

    @property
    def basis(self) -> str:
        """What the times of a trial rest on."""
        if self.measured_trials:
            return f"by {self.measured_trials} trials of the study"
        return f"to the last epoch, by a few steps of {self.measured_networks} networks"

    @property
    def left_text(self) -> str:
        return "1 trial" if self.left == 1 else f"{self.left} trials"

    @property
    def time_text(self) -> str:
        if self.left == 0:
            return "no trial is left to train, a larger budget goes on"
        if self.seconds is None or self.trial_seconds is None:
            return f"{self.left_text} to train; how long they take could not be told in a moment"
        low, middle, high = (show_seconds(value) for value in self.trial_seconds)
        spread = "" if low == high else f" ({low} to {high})"
        given = self.time_limit is not None and self.time_limit < self.seconds
        limit = f"; {show_duration(self.time_limit or 0)} are given" if given else ""
        return f"a trial takes about {middle}{spread}, {self.left_text} about {show_seconds(self.seconds)}{limit}"


def _row(name: str, spread: Spread, show: Callable[[float], str]) -> str:
    return f"{name:12}" + "".join(f"{show(value):>14}" for value in spread)
