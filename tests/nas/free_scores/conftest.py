"""Images and data that need no file."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from nas.training.data import Dataset, load_dataset
from nas.training.seeds import generator


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load_dataset("digits", data_dir=Path("unused"), limit_train=300)


@pytest.fixture(scope="session")
def images() -> torch.Tensor:
    """Sixteen images of noise, 16 pixels wide, as `scoring_images` gives them."""
    return torch.randn(16, 3, 16, 16, generator=generator(torch.device("cpu"), 0, "images"))
