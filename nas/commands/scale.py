"""What `nas scale` does and prints."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands.scale_tables import family_document, print_family, print_scaling, scaling_document
from nas.commands.scale_trained import Trained, fit_document, print_fit
from nas.errors import NasError
from nas.files import write_new
from nas.limits import LIMITS
from nas.plugins import load_plugins
from nas.scaling.learnt import FITTED
from nas.scaling.records import Family
from nas.scaling.scaleup import scale as scale_to_limits
from nas.scaling.scaleup import scale_family
from nas.terminal import print_json, say, word
from searchspace import Architecture

if TYPE_CHECKING:
    from nas.scaling.ground import Ground


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
    trained = Trained.taken_from(settings)
    trained.check(phi, settings)
    ends = _numbers("--resolution-range", resolution_range, int)
    if ends is not None and len(ends) != 2:
        raise NasError(f"--resolution-range takes two numbers of pixels such as 16,48, given {resolution_range!r}")
    steps = _numbers("--phi", phi, float)
    _require_new(out, steps)
    settings["resolution_range"] = None if ends is None else (ends[0], ends[1])
    if steps is not None:
        _without_limits(settings)
    sized = steps is not None or any(settings[name] is not None for name in LIMITS)
    if trained.fit and not sized and out is not None:
        raise NasError("--out writes scaled networks: add --phi 1,2,3 or a limit, or leave it out")
    start, ground, document = what, None, {}
    if trained.asked:
        ground = trained.ground(what, settings)
        start = _on(ground, what, settings)
    if trained.fit:
        assert ground is not None
        fit = trained.fitted(ground)
        document = {"fit": fit_document(fit)}
        if not as_json:
            print_fit(fit)
        settings["direction"] = FITTED
    if sized or not trained.fit:
        document |= _scaled(start, steps, settings, out, as_json, lambda family: _trained(trained, family, ground))
    if as_json:
        print_json(document)


def _on(ground: Ground, what: str, settings: dict[str, Any]) -> Architecture | str:
    """What is scaled where it is trained, too: a trial by its name, any other network in its form for the images."""
    if ground.start.fingerprint is not None:
        return what
    pixels = ground.start.pixels
    settings |= {"resolution": None, "resolution_range": (pixels.lowest, pixels.highest)}
    return ground.start.architecture


def _trained(trained: Trained, family: Family, ground: Ground | None) -> Family:
    return trained.trained(family, ground) if trained.train and ground is not None else family


def _scaled(
    what: Architecture | str,
    steps: list[float] | None,
    settings: dict[str, Any],
    out: str | None,
    as_json: bool,
    trained: Callable[[Family], Family],
) -> dict[str, Any]:
    """Scale, write and, unless as JSON, print; the document for JSON."""
    if steps is None:
        done = scale_to_limits(what, **settings)
        _write(out, done.best.architecture)
        if not as_json:
            print_scaling(done)
        return scaling_document(done)
    family = scale_family(what, steps, **_without_limits(settings))
    for member in family.members:
        _write(_member_file(out, member.phi, len(steps)), member.architecture)
    family = trained(family)
    if not as_json:
        print_family(family)
    return family_document(family)


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
