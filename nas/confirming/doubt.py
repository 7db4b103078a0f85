"""How sure a search's best trial is, from what the study holds: one line, which costs no training."""

from __future__ import annotations

from nas.confirming.chance import standard_error
from nas.result import SearchResult
from studies import COMPLETE

ERRORS = 2  # standard errors of one accuracy, within which another trial counts as no worse


def doubt_about(result: SearchResult) -> str | None:
    """How many complete trials lie as near to the best as one accuracy's noise; None where there is nothing to say.

    That noise is of the validation images alone; the seed's comes on top, and one training a trial does not show it.
    """
    rows = result.rank()
    complete = rows[(rows["status"] == COMPLETE) & rows["val_accuracy"].notna()]
    accuracies = [float(accuracy) for accuracy in complete["val_accuracy"]]
    images = result.validation_images
    if len(accuracies) < 2 or not images:
        return None
    best = max(accuracies)
    noise = ERRORS * standard_error(best, images)
    near = sum(accuracy >= best - noise for accuracy in accuracies) - 1
    where = f"within {100 * noise:.2f} points of it, two standard errors on {images:,} validation images"
    if len(accuracies) == 2:
        one = "the other complete trial is"
        return f"how sure: {one} {where}: it may lead by chance" if near else f"how sure: {one} not {where}"
    others = f"of the other {len(accuracies) - 1} complete trials"
    if near:
        return f"how sure: {near} {others} {'is' if near == 1 else 'are'} {where}: it may lead by chance"
    return f"how sure: none {others} is {where}; seeds may still reorder them"
