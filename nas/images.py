"""One picture from a file to pixels: the same steps for training images and for `predict`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError

from nas.errors import DataError

IMAGE_EXTENSIONS = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"})

_SIXTEEN_BIT = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_GREY = ("1", "L", "LA", "La", *_SIXTEEN_BIT)
_ORIENTATION_SOURCES = frozenset({"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"})  # TIFF: tag_v2


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode one image file in full (of an animation: its first picture).

    Raises DataError naming the file when it is missing, unreadable, damaged, truncated, not an image, or larger than
    Pillow's limit against decompression bombs (`PIL.Image.MAX_IMAGE_PIXELS`).
    """
    with _opened(path) as image:
        image.load()
        return image


def read_header(path: str | os.PathLike[str]) -> tuple[int, bool]:
    """The shorter side in pixels and whether the image is greyscale, without decoding it; errors as `read_image`."""
    with _opened(path) as image:
        return min(image.size), image.mode in _GREY


def to_square(image: Image.Image, channels: int, resolution: int) -> torch.Tensor:
    """The centre square of an image, scaled to `resolution`: uint8 (channels, resolution, resolution).

    The EXIF orientation is applied, transparency is laid on white, palettes, CMYK and 16 bits become 8-bit RGB (3
    channels) or luminance (1 channel); then the largest centred square, whose side is the image's shorter one, is
    scaled bilinearly with antialiasing. An 8-bit image already of that mode and size comes back unchanged.

    Raises DataError for pixels without a fixed range (32-bit floats) and for another number of channels than 1 or 3.
    """
    return torch.from_numpy(to_square_array(image, channels, resolution)).permute(2, 0, 1)


def to_square_array(image: Image.Image, channels: int, resolution: int) -> np.ndarray:
    """`to_square` as an array (resolution, resolution, channels): the layout that decoders give and datasets keep."""
    if channels not in (1, 3):
        raise DataError(f"images have 1 channel (grey) or 3 (RGB), not {channels}")
    image = _eight_bit(_upright(image), "L" if channels == 1 else "RGB")
    if image.size != (resolution, resolution):
        width, height = image.size
        side = min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        # Cropping through `box` gives the pixels of "scale, then crop" without scaling what is thrown away.
        box = (left, top, left + side, top + side)
        image = image.resize((resolution, resolution), Image.Resampling.BILINEAR, box=box)
    return np.array(image).reshape(resolution, resolution, channels)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[Image.Image]:
    name = os.fspath(path)
    try:
        with Image.open(name) as image:
            limit = Image.MAX_IMAGE_PIXELS
            if limit is not None and image.width * image.height > limit:
                raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels, more than {limit}")
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"{name!r} is too large an image: {error}") from error
    except UnidentifiedImageError as error:
        raise DataError(f"{name!r} is not an image, or is damaged") from error
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
        raise DataError(f"{name!r} cannot be read: {error.strerror}") from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged file makes of them.
        raise DataError(f"{name!r} is a damaged image: {error}") from error


def _upright(image: Image.Image) -> Image.Image:
    # exif_transpose takes as long as decoding a 32x32 JPEG, even where there is nothing to find: look first.
    if not (_ORIENTATION_SOURCES & image.info.keys() or hasattr(image, "tag_v2")):
        return image
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # An orientation that cannot be read is none: the pixels themselves are whole.
        return image


def _eight_bit(image: Image.Image, mode: str) -> Image.Image:
    if image.mode == mode and not image.has_transparency_data:
        return image
    if image.mode == "F":
        raise DataError("images of 32-bit floats have no fixed range of values: save them with 8 or 16 bits")
    try:
        if image.mode in _SIXTEEN_BIT:
            # Pillow's own conversion cuts off above 255. 65535 / 257 = 255.
            wide = np.asarray(image).astype(np.int64).clip(0, 65535)
            image = Image.fromarray(((wide + 128) // 257).astype(np.uint8))
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        if image.mode not in _GREY:
            image = image.convert("RGB")  # LAB, for one, has no direct way to grey
        return image.convert(mode)
    except ValueError as error:
        raise DataError(f"images of Pillow's mode {image.mode} are not supported: save them as RGB") from error
