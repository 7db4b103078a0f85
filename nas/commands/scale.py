"""What `nas scale` does and prints."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import click

from nas.errors import NasError
from nas.files import write_new
from nas.limits import LIMITS, show_amount
from nas.plugins import load_plugins
from nas.quantities import show_count
from nas.scaling.records import Family, FamilyMember, Scaled, Scaling
from nas.scaling.scaleup import scale as scale_to_limits
from nas.scaling.scaleup import scale_family
from nas.terminal import print_json, say, word
from searchspace import Architecture
from searchspace.directions import Pixels
from searchspace.references.small_images import SMALL


def scale(
    what: str,
    *,
    phi: str | None,
    resolution_range: str | None,
    out: str | None,
    modules: tuple[str, ...],
    as_json: bool,
    **settings: Any,
) -> None:
    load_plugins(modules)
    ends = _numbers("--resolution-range", resolution_range, int)
    if ends is not None and len(ends) != 2:
        raise NasError(f"--resolution-range takes two numbers of pixels such as 16,48, given {resolution_range!r}")
    steps = _numbers("--phi", phi, float)
    _require_new(out, steps)
    settings["resolution_range"] = None if ends is None else (ends[0], ends[1])
    if steps is None:
        done = scale_to_limits(what, **settings)
        _write(out, done.best.architecture)
        print_json(_scaling_document(done)) if as_json else _print_scaling(done)
    else:
        family = scale_family(what, steps, **_without_limits(settings))
        for member in family.members:
            _write(_member_file(out, member.phi, len(steps)), member.architecture)
        print_json(_family_document(family)) if as_json else _print_family(family)


def _numbers(option: str, text: str | None, kind: type[int] | type[float]) -> list[Any] | None:
    try:
        return None if text is None else [kind(part) for part in text.split(",")]
    except ValueError:
        raise NasError(f"{option} takes numbers with commas between, such as 1,2; given {text!r}") from None


def _without_limits(settings: dict[str, Any]) -> dict[str, Any]:
    given = [f"--{name.replace('_', '-')}" for name in LIMITS if settings[name] is not None]
    if given:
        raise NasError(f"--phi says the sizes of a family: leave out {' and '.join(given)}, or --phi")
    if settings["direction"] == "all":
        raise NasError("a family grows along one direction: name it, or leave --direction out")
    return {name: value for name, value in settings.items() if name not in (*LIMITS, "batch_size", "device")}


def _member_file(out: str | None, phi: float, count: int) -> str | None:
    """`net.json`, or `net-phi1.json` where there are several."""
    return out if out is None or count == 1 else f"{out.removesuffix('.json')}-phi{phi:g}.json"


def _require_new(out: str | None, steps: list[float] | None) -> None:
    """Refuse before anything is computed what could not be written after it."""
    if out is None:
        return
    if not out.endswith(".json"):
        raise NasError(f"--out {out!r} must end in .json")
    for phi in steps or [0.0]:
        file = _member_file(out, phi, len(steps or [0.0])) or out
        if os.path.lexists(file):
            raise NasError(f"{file!r} exists: choose another name, or remove it first")
        if not Path(file).parent.is_dir():
            raise NasError(f"{str(Path(file).parent)!r} is no folder to write {Path(file).name!r} to")


def _write(file: str | None, architecture: Architecture) -> None:
    if file is None:
        return
    if not write_new(Path(file), (architecture.to_json(2) + "\n").encode()):
        raise NasError(f"{file!r} exists: choose another name, or remove it first")
    say(f"written to {word(file)}; see it with: nas show {word(file)}; train it with: nas train {word(file)}")


def _print_scaling(done: Scaling) -> None:
    click.echo(_start_line(done.start, done.cost.params, done.cost.macs) + f", to {done.limits}")
    more = [name for name in done.limits.given if name in ("memory", "latency")]
    heading = ("", "law", "params", "MACs", "activations", *more, "pixels", "depth", "width", "of the limit")
    click.echo(_table([heading, *(_cells(row, row.law == done.direction, more) for row in done.laws)]))
    for row in done.laws:
        if row.reason:
            click.echo(f"{row.law}: {_share(row)}: {row.reason}")
    best = done.best
    click.echo(f"chosen: {best.law} ({done.why}); {best.binding} binds, {best.share:.1%} of it is taken")
    _print_pixels(done.start, done.pixels)


def _cells(row: Scaled, chosen: bool, more: list[str]) -> tuple[str, ...]:
    counts = (row.cost.params, row.cost.macs, row.cost.activations)
    return (
        "->" if chosen else "",
        row.law,
        *map(show_count, counts),
        *(show_amount(name, row.amounts[name]) if name in row.amounts else "" for name in more),
        str(row.architecture.resolution),
        str(row.depth),
        str(row.width or ""),
        _share(row),
    )


def _share(row: Scaled) -> str:
    return f"{row.share:.1%} {row.binding}"


def _print_family(family: Family) -> None:
    click.echo(_start_line(family.start, family.cost.params, family.cost.macs) + f", along {family.direction}")
    heading = ("", "phi", "params", "target", "error", "MACs", "target", "error", "pixels", "depth", "dropout")
    click.echo(_table([heading, *map(_member_cells, family.members)]))
    click.echo(f"direction: {family.direction} ({family.why})")
    _print_pixels(family.start, family.pixels)


def _member_cells(member: FamilyMember) -> tuple[str, ...]:
    return (
        "",
        f"{member.phi:g}",
        *(show_count(member.cost.params), show_count(member.target_params), f"{member.params_error:+.1%}"),
        *(show_count(member.cost.macs), show_count(member.target_macs), f"{member.macs_error:+.1%}"),
        str(member.architecture.resolution),
        str(member.architecture.depth),
        f"{member.architecture.head.dropout:g}",
    )


def _start_line(start: Architecture, params: int, macs: int) -> str:
    label = start.name or start.digest[:12]
    return f"{label} at {start.resolution} px: {show_count(params)} params, {show_count(macs)} MACs"


def _print_pixels(start: Architecture, pixels: Pixels) -> None:
    if pixels.highest == start.resolution and pixels.highest <= SMALL:
        click.echo(
            f"images stay within {pixels.highest} pixels: more of them would show nothing new "
            "(--resolution-range LOW,HIGH allows it)"
        )


def _table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def _scaling_document(done: Scaling) -> dict[str, Any]:
    return {
        "start": _network(done.start, done.cost),
        "limits": done.limits.given,
        "resolution_range": [done.pixels.lowest, done.pixels.highest],
        "direction": done.direction,
        "why": done.why,
        "binding": done.best.binding,
        "share": done.best.share,
        "best": _row_document(done.best),
        "laws": [_row_document(row) for row in done.laws],
    }


def _row_document(row: Scaled) -> dict[str, Any]:
    facts = {"law": row.law, "source": row.source, "within": row.within, "binding": row.binding, "share": row.share}
    shape = {"depth": row.depth, "width": row.width, "amounts": row.amounts, "reason": row.reason}
    return facts | shape | _network(row.architecture, row.cost)


def _family_document(family: Family) -> dict[str, Any]:
    members = [
        {
            "phi": member.phi,
            "target_params": member.target_params,
            "target_macs": member.target_macs,
            "params_error": member.params_error,
            "macs_error": member.macs_error,
            **_network(member.architecture, member.cost),
        }
        for member in family.members
    ]
    start = _network(family.start, family.cost)
    ends = [family.pixels.lowest, family.pixels.highest]
    chosen = {"direction": family.direction, "why": family.why, "resolution_range": ends}
    return {"start": start, **chosen, "members": members}


def _network(architecture: Architecture, counted: Any) -> dict[str, Any]:
    facts = {"name": architecture.name, "digest": architecture.digest, "resolution": architecture.resolution}
    return facts | dataclasses.asdict(counted) | {"architecture": architecture.model_dump(mode="json")}
