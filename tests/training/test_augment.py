"""Batched augmentation against a loop over the images that says the same slowly."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from nas.errors import NasError
from nas.training.augment import augment, normalise


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def run(
    images: Tensor,
    seed: int = 0,
    *,
    padding: int = 0,
    mirror: bool = False,
    cutout: int = 0,
    fill: Tensor | None = None,
) -> Tensor:
    generator = torch.Generator(images.device).manual_seed(seed)
    return augment(images, generator, padding=padding, mirror=mirror, cutout=cutout, fill=fill)


def windows(image: Tensor, padding: int, mirror: bool) -> list[Tensor]:
    """Every crop of the reflected image, each also flipped, as torch pads and slices it."""
    _, height, width = image.shape
    padded = functional.pad(image[None].float(), (padding,) * 4, mode="reflect")[0].to(torch.uint8)
    steps = range(2 * padding + 1)
    crops = [padded[:, y : y + height, x : x + width] for y, x in itertools.product(steps, steps)]
    return crops + [crop.flip(2) for crop in crops] if mirror else crops


@settings(max_examples=40, deadline=None)
@given(
    size=st.tuples(st.integers(3, 9), st.integers(3, 9)),
    channels=st.sampled_from([1, 3]),
    padding=st.integers(0, 2),
    mirror=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_each_result_is_a_window_of_its_own_reflected_image(
    size: tuple[int, int], channels: int, padding: int, mirror: bool, seed: int
) -> None:
    images = noise(6, channels, *size, seed=seed)
    for image, result in zip(images, run(images, seed, padding=padding, mirror=mirror), strict=True):
        assert any(torch.equal(result, window) for window in windows(image, padding, mirror))


def test_every_window_and_both_directions_come_up_about_equally() -> None:
    image = noise(1, 3, 5, 5)
    results = run(image.expand(9000, -1, -1, -1).contiguous(), padding=1, mirror=True)
    counts = [int((results == window).all(dim=(1, 2, 3)).sum()) for window in windows(image[0], 1, True)]
    assert sum(counts) == 9000
    assert min(counts) > 400  # 18 windows of 500 expected; the standard deviation is 22
    assert max(counts) < 600


def test_nothing_to_do_returns_the_images() -> None:
    images = noise(5, 3, 8, 8)
    assert torch.equal(run(images), images)


@pytest.mark.parametrize("cutout", [1, 3, 8])
def test_cutout_blanks_one_whole_square_and_nothing_else(cutout: int) -> None:
    images = noise(50, 3, 8, 8) // 2
    fill = torch.tensor([200, 201, 202], dtype=torch.uint8)
    result = run(images, cutout=cutout, fill=fill)
    blank = (result == fill.view(1, 3, 1, 1)).all(dim=1)
    assert torch.equal(torch.where(blank[:, None], images, result), images)
    for mask in blank:
        rows, columns = mask.nonzero(as_tuple=True)
        assert len(rows) == cutout**2
        assert rows.max() - rows.min() == columns.max() - columns.min() == cutout - 1


def test_cutout_fills_with_the_mean_of_the_batch_by_default() -> None:
    images = noise(64, 3, 8, 8)
    result = run(images, cutout=8)
    assert torch.equal(result[0, :, 0, 0], images.float().mean(dim=(0, 2, 3)).round().to(torch.uint8))


def test_cutout_reaches_every_corner() -> None:
    result = run(torch.zeros(2000, 1, 6, 6, dtype=torch.uint8), cutout=2, fill=torch.tensor([1], dtype=torch.uint8))
    assert result.amax(dim=0).min() == 1


def test_a_seed_repeats_its_results_and_another_gives_others() -> None:
    images = noise(32, 3, 8, 8)
    first, again, other = (run(images, seed, padding=2, mirror=True, cutout=3) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    run(noise(8, 3, 8, 8), padding=2, mirror=True, cutout=3)
    assert torch.equal(before, torch.get_rng_state())


def test_the_input_is_not_changed_and_order_is_kept() -> None:
    images = torch.arange(10, dtype=torch.uint8).view(10, 1, 1, 1).expand(10, 3, 8, 8).contiguous()
    before = images.clone()
    result = run(images, padding=3, mirror=True)
    assert torch.equal(images, before)
    assert torch.equal(result, before)  # flat images: each stays at its label's place


@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_memory_format_and_values_do_not_depend_on_each_other(memory_format: torch.memory_format) -> None:
    images = noise(8, 3, 8, 8)
    result = run(images.contiguous(memory_format=memory_format), padding=2, mirror=True, cutout=3)
    assert result.is_contiguous(memory_format=memory_format)
    assert torch.equal(result, run(images, padding=2, mirror=True, cutout=3))
    mean, std = torch.full((3,), 0.5), torch.full((3,), 0.25)
    assert normalise(result, mean, std, torch.float32).is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("setting", [{"padding": 8}, {"padding": -1}, {"cutout": 9}, {"cutout": -1}])
def test_settings_that_do_not_fit_the_images_are_refused(setting: dict[str, int]) -> None:
    with pytest.raises(NasError, match=rf"{next(iter(setting))} must be 0 to . for images of 8 pixels"):
        run(noise(2, 3, 8, 8), padding=setting.get("padding", 0), cutout=setting.get("cutout", 0))


def test_only_uint8_is_augmented() -> None:
    with pytest.raises(NasError, match="uint8"):
        run(torch.zeros(2, 3, 8, 8))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 8e-3)])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_normalise_is_the_textbook_formula(
    dtype: torch.dtype, tolerance: float, memory_format: torch.memory_format
) -> None:
    images = noise(4, 3, 8, 6).contiguous(memory_format=memory_format)
    mean, std = torch.tensor([0.49, 0.48, 0.45]), torch.tensor([0.25, 0.24, 0.26])
    expected = (images.double() / 255 - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)
    result = normalise(images, mean, std, dtype)
    assert result.dtype == dtype
    torch.testing.assert_close(result.double(), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.gpu
def test_on_a_gpu_it_gives_windows_of_the_images_without_waiting_for_the_device() -> None:
    images = noise(64, 3, 8, 8)
    on_device = images.cuda().contiguous(memory_format=torch.channels_last)
    run(on_device, padding=1, mirror=True, cutout=3)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = run(on_device, 1, padding=1, mirror=True)
        run(on_device, 1, padding=1, mirror=True, cutout=3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(result, run(on_device, 1, padding=1, mirror=True))
    for image, crop in zip(images, result.cpu(), strict=True):
        assert any(torch.equal(crop, window) for window in windows(image, 1, True))
