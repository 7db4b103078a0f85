"""One picture to pixels: modes, orientation, crops, damaged files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nas.errors import DataError
from nas.images import read_header, read_image, to_square


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_of_the_right_size_and_mode_comes_back_unchanged(channels: int) -> None:
    pixels = noise(9, 9) if channels == 1 else noise(9, 9, 3)
    tensor = to_square(Image.fromarray(pixels), channels, 9)
    assert tensor.dtype == torch.uint8
    assert tensor.shape == (channels, 9, 9)
    assert np.array_equal(tensor.permute(1, 2, 0).numpy().reshape(pixels.shape), pixels)


def test_the_tensor_is_writable_and_does_not_share_memory_with_the_image() -> None:
    image = Image.fromarray(noise(4, 4))
    to_square(image, 1, 4).zero_()
    assert np.asarray(image).any()


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB", "I", "I;16"]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_common_mode_is_taken(mode: str, channels: int) -> None:
    tensor = to_square(Image.new(mode, (11, 6)), channels, 8)
    assert tensor.shape == (channels, 8, 8)


@pytest.mark.parametrize("mode", ["F", "La"])
def test_floats_and_modes_pillow_cannot_convert_are_refused(mode: str) -> None:
    with pytest.raises(DataError, match=r"save them"):
        to_square(Image.new(mode, (8, 8)), 3, 8)


def test_other_channel_counts_are_refused() -> None:
    with pytest.raises(DataError, match="not 4"):
        to_square(Image.new("RGBA", (8, 8)), 4, 8)


def test_transparency_is_laid_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    half = Image.new("RGBA", (4, 4), (0, 0, 0, 128))
    assert (to_square(clear, 3, 4) == 255).all()
    assert (to_square(half, 3, 4) == 127).all()
    assert (to_square(Image.new("LA", (4, 4), (0, 0)), 1, 4) == 255).all()


def test_a_transparent_palette_entry_is_laid_on_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 200, 0, 0])
    image.save(tmp_path / "palette.png", transparency=1)
    assert (to_square(read_image(tmp_path / "palette.png"), 3, 4) == 255).all()


def test_sixteen_bits_are_scaled_not_cut_off(tmp_path: Path) -> None:
    wide = np.array([[0, 257], [65535, 32896]], dtype=np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    grey = to_square(read_image(tmp_path / "wide.png"), 1, 2)
    assert grey.flatten().tolist() == [0, 1, 255, 128]
    assert torch.equal(to_square(read_image(tmp_path / "wide.png"), 3, 2), grey.expand(3, 2, 2))


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    pixels = noise(8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned by 90 degrees clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(to_square(read_image(tmp_path / "turned.png"), 1, 8)[0].numpy(), np.rot90(pixels, -1))


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # Pillow's remark
def test_an_unreadable_orientation_counts_as_none(tmp_path: Path) -> None:
    Image.fromarray(noise(8, 8)).save(tmp_path / "odd.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xff")
    assert to_square(read_image(tmp_path / "odd.jpg"), 1, 8).shape == (1, 8, 8)


@pytest.mark.parametrize("size", [(30, 10), (10, 30), (11, 10), (90, 10)])
def test_the_centre_square_is_kept(size: tuple[int, int]) -> None:
    width, height = size
    left, top = (width - 10) // 2, (height - 10) // 2
    image = Image.new("L", size, 0)
    image.paste(Image.new("L", (12, 12), 200), (left - 1, top - 1))
    assert (to_square(image, 1, 10)[0, 1:-1, 1:-1] == 200).all()


def test_scaling_is_bilinear_with_antialiasing_like_torchvision() -> None:
    from torchvision.transforms import v2

    image = Image.fromarray(noise(40, 60, 3).astype(np.uint8))
    expected = v2.functional.pil_to_tensor(v2.CenterCrop(20)(v2.Resize(20, antialias=True)(image)))
    difference = (to_square(image, 3, 20).int() - expected.int()).abs()
    assert difference[:, :, 1:-1].max() <= 1  # at the crop's border ours does not look outside it


def test_header_tells_size_and_greyness(tmp_path: Path) -> None:
    Image.new("L", (7, 5)).save(tmp_path / "grey.png")
    Image.new("RGB", (7, 9)).save(tmp_path / "colour.png")
    assert read_header(tmp_path / "grey.png") == (5, True)
    assert read_header(tmp_path / "colour.png") == (7, False)


def test_damaged_and_foreign_files_are_named(tmp_path: Path) -> None:
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "cut.jpg")
    whole = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    Image.fromarray(noise(64, 64, 3)).save(tmp_path / "flipped.png")
    data = bytearray((tmp_path / "flipped.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "flipped.png").write_bytes(data)
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "words.png").write_text("not pixels")
    (tmp_path / "folder.png").mkdir()
    for name in ("cut.jpg", "flipped.png", "empty.png", "words.png", "folder.png", "missing.png"):
        with pytest.raises(DataError, match=name) as caught:
            read_image(tmp_path / name)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pixels_allowed", [4000, 1000])  # Pillow warns above its limit and refuses above twice that
def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pixels_allowed: int) -> None:
    Image.new("L", (80, 80)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pixels_allowed)
    with pytest.raises(DataError, match=r"bomb\.png.*too large"):
        read_image(tmp_path / "bomb.png")
