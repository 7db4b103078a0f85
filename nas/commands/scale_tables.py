"""What `nas scale` prints: tables of laws and families, and the same as JSON documents."""

from __future__ import annotations

import dataclasses
from typing import Any

import click

from nas.limits import show_amount
from nas.quantities import show_count
from nas.scaling.records import Family, FamilyMember, Scaled, Scaling
from searchspace import Architecture
from searchspace.directions import Pixels
from searchspace.references.small_images import SMALL


def print_scaling(done: Scaling) -> None:
    click.echo(_start_line(done.start, done.cost.params, done.cost.macs) + f", to {done.limits}")
    more = [name for name in done.limits.given if name in ("memory", "latency")]
    heading = ("", "law", "params", "MACs", "activations", *more, "pixels", "depth", "width", "of the limit")
    click.echo(table([heading, *(_cells(row, row.law == done.direction, more) for row in done.laws)]))
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


def print_family(family: Family) -> None:
    click.echo(_start_line(family.start, family.cost.params, family.cost.macs) + f", along {family.direction}")
    heading = ("", "phi", "params", "target", "error", "MACs", "target", "error", "pixels", "depth", "dropout")
    trained = any(member.val_accuracy is not None or member.failure for member in family.members)
    rows = [heading, *map(_member_cells, family.members)]
    if trained:
        cells = ["accuracy", *map(_accuracy_cell, family.members)]
        rows = [(*row, cell) for row, cell in zip(rows, cells, strict=True)]
    click.echo(table(rows))
    if trained:
        _print_ranking(family)
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


def _accuracy_cell(member: FamilyMember) -> str:
    return "failed" if member.val_accuracy is None else f"{member.val_accuracy:.2%}"


def _print_ranking(family: Family) -> None:
    ranked = sorted(
        (member for member in family.members if member.val_accuracy is not None),
        key=lambda member: -(member.val_accuracy or 0.0),
    )
    click.echo("ranked by validation accuracy: " + ", ".join(f"phi {member.phi:g}" for member in ranked))
    for member in family.members:
        if member.failure:
            click.echo(f"phi {member.phi:g} was not trained: {member.failure}")


def _start_line(start: Architecture, params: int, macs: int) -> str:
    label = start.name or start.digest[:12]
    return f"{label} at {start.resolution} px: {show_count(params)} params, {show_count(macs)} MACs"


def _print_pixels(start: Architecture, pixels: Pixels) -> None:
    if pixels.highest == start.resolution and pixels.highest <= SMALL:
        click.echo(
            f"images stay within {pixels.highest} pixels: more of them would show nothing new "
            "(--resolution-range LOW,HIGH allows it)"
        )


def table(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def scaling_document(done: Scaling) -> dict[str, Any]:
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


def family_document(family: Family) -> dict[str, Any]:
    members = [
        {
            "phi": member.phi,
            "target_params": member.target_params,
            "target_macs": member.target_macs,
            "params_error": member.params_error,
            "macs_error": member.macs_error,
            "val_accuracy": member.val_accuracy,
            "failure": member.failure,
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
