"""Auto-scaling: the best network within limits, or a family of sizes, along a direction. Nothing is trained here."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from nas.errors import NasError
from nas.limits import Limits, show_amount
from nas.meter import Latency, Meter, Use
from nas.quantities import show_count
from nas.scaling.fit import Fit, NothingFits, fit, width_of
from nas.scaling.learnt import FITTED, learnt_direction, require_learnt
from nas.scaling.records import Family, FamilyMember, Scaled, Scaling
from nas.scaling.start import Start, find_start
from searchspace import Architecture, ArchitectureError, SpaceError, cifar_form
from searchspace import cost as count_cost
from searchspace.directions import DIRECTIONS, FAMILIES, Direction, default_direction, find_direction
from searchspace.regnet import LINES, Line, regnet

MET = 0.98  # of the binding limit: what is promised, or else a reason
DROPOUT_PER_DOUBLING, MOST_DROPOUT = 0.05, 0.5  # EfficientNet's: from 0.2 at B0 to 0.5 at B7, 98 times its MACs
MOST_PHI = 12.0


def scale(
    what: Architecture | str,
    *,
    max_params: int | str | None = None,
    max_macs: int | str | None = None,
    max_activations: int | str | None = None,
    max_memory: int | str | None = None,
    max_latency: float | str | None = None,
    batch_size: int = 128,
    direction: Direction | str | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    resolution_range: tuple[int, int] | None = None,
    device: str = "auto",
    storage: str = "sqlite:///nas.db",
    study: str | None = None,
) -> Scaling:
    """The network at 98 to 100 % of the binding limit, larger or smaller than `what`, and what other laws would give.

    `what` is an architecture or a name: `trial:17`, `resnet18`, `net.json`, `exports/best`. Limits are for one image
    (`200M`); memory is bytes while training on batches of `batch_size`, by estimate, with the trial's own optimizer or
    else Muon; latency is in milliseconds (`5ms`), the measured median on `device`. `direction` is one of
    `searchspace.directions.DIRECTIONS` or one of your own, which alone is computed then; "all" and None compute all,
    None under a limit of latency the default alone.
    `resolution` and `classes` are those of `what`, if others than its own. Without a `resolution_range` small images do
    not grow.

    Raises:
        NasError: wrong input, or limits below the smallest network along the direction.
    """
    given = {"max_params": max_params, "max_macs": max_macs, "max_activations": max_activations}
    limits = Limits.read({**given, "max_memory": max_memory, "max_latency": max_latency}, batch_size=batch_size)
    if not limits.given:
        raise NasError("scaling needs a limit, such as --max-macs 200M, or sizes: --phi 1,2,3")
    start = find_start(what, resolution, classes, resolution_range, storage, study)
    limits = replace(limits, optimizer=start.optimizer)
    chosen, why = _chosen(direction, start, storage)
    several = direction == "all" or (direction in (None, FITTED) and limits.max_latency is None)
    latency = _latency_on(device) if limits.max_latency is not None else None
    meter = Meter(limits, latency)
    rows = [_along(start, chosen, meter)]
    if not rows[0].within:
        raise NasError(_impossible(rows[0], limits))
    if several:
        others = {law.name: _along(start, law, meter) for law in DIRECTIONS.values() if law.name != chosen.name}
        others[chosen.name] = rows[0]
        order = dict.fromkeys((*DIRECTIONS, chosen.name))
        rows = [*(others[name] for name in order), *_published(start, meter)]
    return Scaling(
        start.architecture, count_cost(start.architecture), limits, start.pixels, chosen.name, why, tuple(rows)
    )


def scale_family(
    what: Architecture | str,
    phi: Sequence[float],
    *,
    direction: Direction | str | None = None,
    resolution: int | None = None,
    classes: int | None = None,
    resolution_range: tuple[int, int] | None = None,
    storage: str = "sqlite:///nas.db",
    study: str | None = None,
) -> Family:
    """A network for each phi, of 2^phi times the multiply-adds of `what`, at most 2 % below; arguments as in `scale`.

    The parameters' target is what the direction promises before rounding (`Direction.expected`).

    Raises:
        NasError: wrong input, or a phi that no rounding of this network meets; the nearest is named.
    """
    start = find_start(what, resolution, classes, resolution_range, storage, study)
    chosen, why = _chosen(direction, start, storage)
    if not phi or len(set(phi)) < len(phi) or not all(abs(each) <= MOST_PHI for each in phi):
        raise NasError(f"phi is one or more different numbers from {-MOST_PHI:g} to {MOST_PHI:g}, given {list(phi)}")
    members = tuple(_member(start, chosen, each) for each in phi)
    return Family(start.architecture, count_cost(start.architecture), start.pixels, chosen.name, why, members)


def _chosen(direction: Direction | str | None, start: Start, storage: str) -> tuple[Direction, str]:
    """The direction asked for, or what was fitted to a trial, or what papers recommend for images of this size."""
    if direction == FITTED:
        return require_learnt(start, storage)
    if direction is None or direction == "all":
        learnt = learnt_direction(start, storage) if start.fingerprint else None
        return learnt or default_direction(start.architecture)
    try:
        chosen = direction if isinstance(direction, Direction) else find_direction(direction)
    except SpaceError as error:
        raise NasError(f"{error}; or all, or {FITTED}") from None
    return chosen, "as asked"


def _latency_on(device: str) -> Latency:
    from nas.training.device import pick_device
    from nas.training.latency import latency_on

    return latency_on(pick_device(device))


def _along(start: Start, direction: Direction, meter: Meter) -> Scaled:
    try:
        found = fit(start.architecture, direction.law, meter, start.pixels)
    except NothingFits as error:
        found = Fit(error.smallest, -math.inf, "the smallest network of this direction")
    return _row(direction.name, direction.source, found.architecture, found.next, start, meter)


def _row(law: str, source: str, found: Architecture, reason: str, start: Start, meter: Meter) -> Scaled:
    use = meter.use(found)
    return Scaled(
        law=law,
        source=source,
        architecture=_finished(found, start.architecture, use, law),
        cost=use.cost,
        amounts=use.amounts,
        binding=use.binding,
        share=use.share,
        width=max((width_of(stage) or 0 for stage in found.stages), default=0),
        depth=found.depth,
        reason="" if MET <= use.share <= 1 else reason,
    )


def _finished(found: Architecture, start: Architecture, use: Use, law: str) -> Architecture:
    """The architecture with a name and the dropout of its size; a network without dropout goes on without."""
    doublings = math.log2(use.cost.macs / max(1, count_cost(start).macs))
    head = found.head
    if head.dropout:
        dropout = min(max(head.dropout + DROPOUT_PER_DOUBLING * doublings, 0.0), max(MOST_DROPOUT, head.dropout))
        head = head.model_copy(update={"dropout": round(dropout, 3)})
    label = re.sub(r" \([^()]*, [^()]* MACs\)$", "", start.name or start.digest[:12])
    return found.changed(head=head, name=f"{label[:150]} ({law}, {show_count(use.cost.macs)} MACs)")


def _published(start: Start, meter: Meter) -> Iterator[Scaled]:
    """The largest member within the limits of each published family, made of this network or, RegNetX, in its place."""
    begin = start.architecture
    for family, members in FAMILIES.items():
        makers = {member.name: partial(member.of, begin, start.pixels) for member in members}
        yield _largest(makers, f"the factors of {family}", start, meter)
    makers = {name: partial(_regnet, line, begin) for name, line in LINES.items()}
    yield _largest(makers, "another network, Radosavovic et al. 2020", start, meter)


def _regnet(line: Line, like: Architecture) -> Architecture:
    return cifar_form(regnet(line, channels=like.channels, classes=like.classes), like.resolution)


def _largest(makers: dict[str, Callable[[], Architecture]], source: str, start: Start, meter: Meter) -> Scaled:
    """The last member within the limits, from the smallest on, or the smallest."""
    found: tuple[str, Architecture] | None = None
    reason = "its largest size"
    for name, make in makers.items():
        try:
            made = make()
            share = meter.share(made)
        except ArchitectureError:
            continue
        if share == math.inf:  # it cannot be built
            continue
        if share > 1:
            reason = f"{name} takes {share:.0%}" if found else "its smallest size"
            found = found or (name, made)
            break
        found = name, made
    assert found is not None, "every family has a member that can be built of a network that can be"
    return _row(found[0], source, found[1], reason, start, meter)


def _impossible(row: Scaled, limits: Limits) -> str:
    over = [
        f"{show_amount(name, row.amounts[name])} {name}"
        for name, limit in limits.given.items()
        if row.amounts.get(name, 0) > limit
    ]
    return (
        f"no network is within {limits}: the smallest along {row.law} has {' and '.join(over)}; raise the limit, or "
        "take a --direction that shrinks what this one keeps"
    )


def _member(start: Start, direction: Direction, phi: float) -> FamilyMember:
    base = count_cost(start.architecture)
    macs, params = (max(1, round(count)) for count in (base.macs * 2**phi, base.params * direction.expected(2**phi)))
    row = _along(start, direction, Meter(Limits(max_macs=macs)))
    if not MET <= row.share <= 1:
        raise NasError(
            f"phi {phi:g} along {direction.name} cannot be met: {show_count(macs)} MACs are asked for, the nearest has "
            f"{show_count(row.cost.macs)}, phi {math.log2(row.cost.macs / base.macs):.2f} ({row.reason})"
        )
    return FamilyMember(phi, row.architecture, row.cost, params, macs)
