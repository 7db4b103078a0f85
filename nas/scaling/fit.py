"""The largest network within limits along one direction of scaling: bisection, rounding, repair. Nothing is trained.

Each step is a fixed sequence of networks that only grow, which does not depend on the limits, and takes the last one
within them. So a larger limit never gives a network that takes less of what is limited.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from nas.meter import Meter
from searchspace import Architecture, ArchitectureError, Head, ScalingLaw, Stage
from searchspace.directions import Pixels, along

ENOUGH, ENOUGH_AT_LAST = 0.99, 0.98  # of the binding limit: repair by small changes, and by larger ones, goes on below
STEPS = 1024  # steps of the factor per doubling
DOUBLINGS = 20  # of the multiply-adds, up or down, are looked through
QUANTA = (8, 4, 2, 1)  # channels by which repair widens a stage: divisors that hardware likes come first
LONGEST = 64  # changes that one repair goes through, so that wide networks are not described by the thousand
WIDEST = (1.25, 1.5)  # times its width along the direction: how far repair widens a stage, and further where it must


@dataclass(frozen=True)
class Fit:
    """A network within the limits, the phi that gave it, and what keeps it from taking more of them."""

    architecture: Architecture
    phi: float
    next: str


class NothingFits(Exception):
    """Even the smallest network of a direction is over a limit."""

    def __init__(self, smallest: Architecture) -> None:
        super().__init__()
        self.smallest = smallest


def fit(start: Architecture, law: ScalingLaw, meter: Meter, pixels: Pixels) -> Fit:
    """The largest network along the law that is within the meter's limits, repaired where rounding left room.

    Raises:
        NothingFits: there is none.
    """

    def at(step: int) -> Architecture:
        return along(start, law, step / STEPS, pixels)

    def share(step: int) -> float:
        try:
            return meter.share(at(step))
        except ArchitectureError:
            return math.inf

    step = _last_step(share)
    if step is None:
        raise NothingFits(at(-DOUBLINGS * STEPS))
    network = at(step)
    following = _following(at, step)
    if following is None:
        return Fit(network, step / STEPS, _end(at, step, pixels))
    over = meter.share(following)
    network = _last_within(_towards(following, network), meter)
    if over == math.inf:  # no small gap between two sizes, which repair is for
        return Fit(network, step / STEPS, "the next size is beyond what can be built")
    if meter.share(network) < ENOUGH:
        network = _repaired(network, meter)
    return Fit(network, step / STEPS, f"the next size takes {over:.1%}, and no small change of a width comes closer")


def _last_step(share: Callable[[int], float]) -> int | None:
    """The last step of the factor whose share is at most 1; None where that of the first is not."""
    base = share(0)
    low, high = (0, DOUBLINGS * STEPS) if base <= 1 else (-DOUBLINGS * STEPS, 0)
    if base > 1 and share(low) > 1:
        return None
    # An ordinary law doubles what is limited, or does less, with each whole phi.
    guess = round(-math.log2(base) * STEPS) if base < math.inf else (low + high) // 2
    low, high = _bracket(share, low, high, guess)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if share(middle) <= 1 else (low, middle)
    return low


def _bracket(share: Callable[[int], float], low: int, high: int, guess: int) -> tuple[int, int]:
    """Closer ends, of which the lower is within the limits and the higher is not, from strides about a guess.

    The given higher end is looked at only where strides reach it, since networks are huge there; both are it where even
    it is within the limits.
    """
    probe, stride = min(max(guess, low + 1), high - 1), STEPS // 16
    within = share(probe) <= 1
    while low < probe < high and (share(probe) <= 1) == within:
        low, high = (probe, high) if within else (low, probe)
        probe = min(probe + stride, high) if within else max(probe - stride, low)
        stride *= 2
    if not within:
        return probe, high
    return (high, high) if probe == high and share(high) <= 1 else (low, probe)


def _following(at: Callable[[int], Architecture], step: int) -> Architecture | None:
    """The network one step of the factor further, where there is one and it differs."""
    try:
        following = at(step + 1) if step < DOUBLINGS * STEPS else None
    except ArchitectureError:
        return None
    return None if following == at(step) else following


def _end(at: Callable[[int], Architecture], step: int, pixels: Pixels) -> str:
    try:
        if at(step + STEPS) != at(step):
            return f"it is not looked further than phi {DOUBLINGS}"
    except ArchitectureError as error:
        return f"larger is beyond what can be built: {error}"
    if at(step).resolution >= pixels.highest:
        return f"nothing is left to grow in this direction: images stay within {pixels.highest} pixels"
    return "nothing is left to grow in this direction"


def _last_within(networks: list[Architecture], meter: Meter) -> Architecture:
    """The last of the growing networks that is within the limits, of which the first is."""
    low, high = 0, 1
    while high < len(networks) and meter.share(networks[high]) <= 1:
        low, high = high, 2 * high
    high = min(high, len(networks))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if meter.share(networks[middle]) <= 1 else (low, middle)
    return networks[low]


def _parts(architecture: Architecture) -> list[Stage]:
    return list(architecture.all_stages())


def _assembled(architecture: Architecture, parts: list[Stage], resolution: int | None = None) -> Architecture | None:
    """The architecture with other stages of stem, body and head; None where one does not fit the one before."""
    stem, body = len(architecture.stem), len(architecture.stem) + len(architecture.stages)
    head: Head = architecture.head.model_copy(update={"blocks": tuple(parts[body:])})
    try:
        return architecture.changed(
            stem=tuple(parts[:stem]),
            stages=tuple(parts[stem:body]),
            head=head,
            resolution=resolution or architecture.resolution,
        )
    except ArchitectureError:
        return None


def _towards(following: Architecture, network: Architecture) -> list[Architecture]:
    """From the network to the following one by one stage after the other, the last of the body first.

    Rounding makes many stages jump at one factor; taken singly, they leave smaller gaps. The images keep their size.
    """
    parts, target = _parts(network), _parts(following)
    networks = [network]
    for place in reversed(range(len(parts))):
        if parts[place] != target[place]:
            parts[place] = target[place]
            if (made := _assembled(network, parts)) is not None:
                networks.append(made)
    return networks


def _repaired(network: Architecture, meter: Meter) -> Architecture:
    """Single widths grown: of all stages, then of those with the smallest effects alone, by ever fewer channels."""
    order = _by_effect(network, meter)
    widths = {place: width_of(_parts(network)[place]) or 0 for place in order}
    for enough, growth in zip((ENOUGH, ENOUGH_AT_LAST), WIDEST, strict=True):
        widest = {place: math.ceil(growth * width) for place, width in widths.items()}
        for quantum in QUANTA:
            count = len(order)
            while count:
                if meter.share(network) >= enough:
                    return network
                network = _last_within(_widened(order[:count], quantum, widest, network), meter)
                count //= 2
    return network


def _by_effect(network: Architecture, meter: Meter) -> list[int]:
    """Places of stages whose width can be changed alone: the smallest effect on the binding limit first."""
    binding = meter.use(network).binding
    effects = []
    for place in range(len(_parts(network))):
        if (wider := _with_width(network, place, QUANTA[0])) is None:
            continue
        try:
            amounts = meter.limits.amounts(meter.use(wider).cost)
        except ArchitectureError:
            continue
        effects.append((amounts.get(binding, amounts["macs"]), -place))
    return [-place for _, place in sorted(effects)]


def _widened(order: list[int], quantum: int, widest: dict[int, int], network: Architecture) -> list[Architecture]:
    """The network, then one stage after the other wider by `quantum` channels, in rounds, until all are at `widest`."""
    networks, before = [network], 0
    while before < len(networks) <= LONGEST:
        before = len(networks)
        for place in order:
            wider = _with_width(networks[-1], place, quantum)
            if wider is not None and (width_of(_parts(wider)[place]) or 0) <= widest[place]:
                networks.append(wider)
    return networks


def width_of(stage: Stage) -> int | None:
    """The one number that says how wide a stage is; None where it has none of its own, as explicit branches."""
    field = _width_field(stage)
    return None if field is None else getattr(stage.block, field)


def _width_field(stage: Stage) -> str | None:
    if stage.block.reads_images or getattr(stage.block, "groups", 1) > 1:
        return None  # what a learner made of the images; channels that their groups must divide
    return next((name for name in ("width", "growth_rate") if isinstance(getattr(stage.block, name, None), int)), None)


def _with_width(architecture: Architecture, place: int, more: int) -> Architecture | None:
    """The architecture with one stage wider; None where it has no width or does not fit its neighbours then."""
    parts = _parts(architecture)
    field = _width_field(parts[place])
    if field is None:
        return None
    block = parts[place].block
    wider = block.model_copy(update={field: getattr(block, field) + more})
    parts[place] = parts[place].model_copy(update={"block": wider})
    return _assembled(architecture, parts)
