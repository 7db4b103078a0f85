"""Neural architecture search and auto-scaling for image classification.

import nas
result = nas.search(dataset="digits", budget=20)
result.best.architecture, result.best.val_accuracy
network = nas.load("exports/best")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from nas.bundle import load
    from nas.confirming.confirmation import confirm
    from nas.confirming.result import Confirmation
    from nas.errors import BundleError, DataError, NasError, RunError
    from nas.exporting import Export, export_trial
    from nas.foresight.dry_run import forecast
    from nas.hub import from_pretrained
    from nas.progress import make_progress
    from nas.result import SearchResult, TrialResult, open_study
    from nas.scaling.fitted import ScalingFit, fit_scaling
    from nas.scaling.members import train_family
    from nas.scaling.records import Family, Scaled, Scaling
    from nas.scaling.scaleup import scale, scale_family
    from nas.searching import search
    from nas.single import Training, train
    from nas.trained import Prediction, TrainedNetwork
    from nas.training.data import load_dataset, register_dataset
    from nas.training.latency import measure_latency
    from nas.training.recipe import Recipe

# Imported on first use, so that `nas --help` does not wait for torch.
_HOMES = {
    "nas.bundle": ("load",),
    "nas.confirming.confirmation": ("confirm",),
    "nas.confirming.result": ("Confirmation",),
    "nas.foresight.dry_run": ("forecast",),
    "nas.errors": ("BundleError", "DataError", "NasError", "RunError"),
    "nas.exporting": ("Export", "export_trial"),
    "nas.hub": ("from_pretrained",),
    "nas.progress": ("make_progress",),
    "nas.result": ("SearchResult", "TrialResult", "open_study"),
    "nas.scaling.fitted": ("ScalingFit", "fit_scaling"),
    "nas.scaling.members": ("train_family",),
    "nas.scaling.records": ("Family", "Scaled", "Scaling"),
    "nas.scaling.scaleup": ("scale", "scale_family"),
    "nas.searching": ("search",),
    "nas.single": ("Training", "train"),
    "nas.trained": ("Prediction", "TrainedNetwork"),
    "nas.training.data": ("load_dataset", "register_dataset"),
    "nas.training.latency": ("measure_latency",),
    "nas.training.recipe": ("Recipe",),
}
_NAMES = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BundleError",
    "Confirmation",
    "DataError",
    "Export",
    "Family",
    "NasError",
    "Prediction",
    "Recipe",
    "RunError",
    "Scaled",
    "Scaling",
    "ScalingFit",
    "SearchResult",
    "TrainedNetwork",
    "Training",
    "TrialResult",
    "confirm",
    "export_trial",
    "fit_scaling",
    "forecast",
    "from_pretrained",
    "load",
    "load_dataset",
    "make_progress",
    "measure_latency",
    "open_study",
    "register_dataset",
    "scale",
    "scale_family",
    "search",
    "train",
    "train_family",
]


def __getattr__(name: str) -> Any:
    if name not in _NAMES:
        raise AttributeError(f"module 'nas' has no attribute {name!r}")
    value = getattr(importlib.import_module(_NAMES[name]), name)
    globals()[name] = value
    return value
