"""Datasets: what is split, what is read when, what is refused and how plainly."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nas.errors import DataError
from nas.training import data
from nas.training.data import DATASETS, Dataset, default_data_dir, load_dataset, register_dataset
from nas.training.datasets import ArrayExamples, Request, Source
from nas.training.datasets.stratify import stratified_split


def make_folder(root: Path, counts: dict[str, int], size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Path:
    """Images of noise: `counts` maps "train/cat" to how many."""
    random = np.random.default_rng(0)
    for place, count in counts.items():
        (root / place).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            pixels = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).convert(mode).save(root / place / f"{index:03}.png")
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    counts = {"train/cat": 20, "train/dog": 10, "test/cat": 3, "test/dog": 4}
    return make_folder(tmp_path / "pets", counts)


def arrays(count: int = 40, classes: int = 4, shape: tuple[int, ...] = (8, 8, 3)) -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    return {
        "x_train": random.integers(0, 256, (count, *shape), dtype=np.uint8),
        "y_train": np.arange(count) % classes,
        "x_test": random.integers(0, 256, (12, *shape), dtype=np.uint8),
        "y_test": np.arange(12) % classes,
    }


def save(path: Path, values: dict[str, np.ndarray], **changes: np.ndarray | None) -> str:
    kept = {key: value for key, value in {**values, **changes}.items() if value is not None}
    np.savez(path, **kept)  # pyright: ignore[reportArgumentType]
    return str(path)


def counts_of(labels: torch.Tensor | np.ndarray, classes: int) -> list[int]:
    return np.bincount(np.asarray(labels), minlength=classes).tolist()


def refuse(name: object, *words: str, **settings: object) -> str:
    """The message, of one or two lines, with which loading fails; it holds all the words."""
    with pytest.raises(DataError) as caught:
        load_dataset(str(name), **settings)  # pyright: ignore[reportArgumentType]
    message = str(caught.value)
    assert message.count("\n") <= 1
    for word in words:
        assert word in message
    return message


# The split


@settings(max_examples=60, deadline=None)
@given(
    counts=st.lists(st.integers(2, 60), min_size=2, max_size=8),
    share=st.floats(0.01, 0.99),
    used=st.floats(0, 1),
    seed=st.integers(-5, 2**40),
)
def test_the_split_is_stratified_exact_disjoint_and_repeatable(
    counts: list[int], share: float, used: float, seed: int
) -> None:
    labels = np.random.default_rng(1).permutation(np.repeat(np.arange(len(counts)), counts))
    least = 2 * len(counts)
    total = least + int(used * (len(labels) - least))
    held_out = min(max(1, int(share * total)), total - len(counts))
    train, validation = stratified_split(labels, total, held_out, seed)
    assert (len(train), len(validation)) == (total - held_out, held_out)
    assert len(np.union1d(train, validation)) == total
    assert min(counts_of(labels[train], len(counts))) >= 1
    again = stratified_split(labels, total, held_out, seed)
    assert all(np.array_equal(left, right) for left, right in zip((train, validation), again, strict=True))


@settings(max_examples=60, deadline=None)
@given(counts=st.lists(st.integers(20, 60), min_size=2, max_size=8), seed=st.integers(0, 9))
def test_every_class_gives_its_share_rounded_up_or_down(counts: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    total, held_out = len(labels) * 2 // 3, len(labels) // 10
    train, validation = stratified_split(labels, total, held_out, seed)
    chosen = np.array(counts_of(labels[np.concatenate([train, validation])], len(counts)))
    assert (np.abs(chosen - np.array(counts) * total / len(labels)) < 1).all()
    assert (np.abs(counts_of(labels[validation], len(counts)) - chosen * held_out / total) < 1).all()


def test_other_seeds_give_other_splits() -> None:
    labels = np.repeat(np.arange(4), 30)
    splits = {tuple(stratified_split(labels, 120, 12, seed)[1].tolist()) for seed in range(20)}
    assert len(splits) == 20


def test_the_split_is_the_same_for_ever() -> None:
    _, validation = stratified_split(np.repeat(np.arange(2), 10), 20, 6, seed=0)
    assert validation.tolist() == [0, 4, 6, 10, 14, 16]


def test_a_smaller_choice_never_trains_on_what_a_larger_one_validates_on() -> None:
    labels = np.repeat(np.arange(5), [10, 20, 30, 40, 50])
    train, validation = stratified_split(labels, 150, 15, seed=3)
    few_train, few_validation = stratified_split(labels, 60, 6, seed=3)
    assert set(few_train) <= set(train)
    assert set(few_validation) <= set(validation)


def test_splits_of_a_folder_follow_the_seed(folder: Path) -> None:
    first, again, other = (load_dataset(str(folder), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(first.validation.images, again.validation.images)
    assert first.fingerprint == again.fingerprint
    assert not torch.equal(first.validation.images, other.validation.images)
    assert counts_of(first.train.labels, 2) == [18, 9]
    assert counts_of(first.validation.labels, 2) == [2, 1]


def test_limit_train_counts_train_and_validation_together_and_decodes_no_others(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nas.training.datasets import folder as reader

    decoded: list[str] = []
    original: Callable[..., Image.Image] = reader.read_image

    def spy(path: str) -> Image.Image:
        decoded.append(path)
        return original(path)

    monkeypatch.setattr(reader, "read_image", spy)
    dataset = load_dataset(str(folder), limit_train=12, validation_fraction=0.25)
    assert (len(dataset.train), len(dataset.validation)) == (9, 3)
    assert counts_of(torch.cat([dataset.train.labels, dataset.validation.labels]), 2) == [8, 4]
    assert len(decoded) == len(set(decoded)) == 12


@pytest.mark.parametrize("limit", [3, 31])
def test_a_limit_outside_the_data_names_the_range(folder: Path, limit: int) -> None:
    refuse(folder, f"limit_train is {limit}", "4 (2 per class) to 30 (all)", limit_train=limit)


def test_too_few_images_say_how_many_there_must_be(tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", x_train=np.zeros((2, 8, 8), np.uint8), y_train=np.arange(2))
    refuse(tmp_path / "few.npz", "it has 2 for 2 classes", "must be 4 (2 per class) or more")


def test_limits_at_the_ends_of_the_range_work(folder: Path) -> None:
    for limit in (4, 30):
        dataset = load_dataset(str(folder), limit_train=limit)
        assert len(dataset.train) + len(dataset.validation) == limit


def test_a_val_folder_is_the_validation_set(folder: Path) -> None:
    make_folder(folder, {"val/cat": 3, "val/dog": 5})
    dataset = load_dataset(str(folder))
    assert (len(dataset.train), counts_of(dataset.validation.labels, 2)) == (30, [3, 5])
    for limit, expected in ((20, (18, 2)), (38, (30, 8)), (36, (30, 6)), (4, (3, 1))):
        limited = load_dataset(str(folder), limit_train=limit)
        assert (len(limited.train), len(limited.validation)) == expected


@pytest.mark.parametrize("fraction", [0, 1, -0.5, float("nan")])
def test_validation_fractions_outside_zero_to_one_are_refused(fraction: float) -> None:
    refuse("digits", "validation_fraction", validation_fraction=fraction)


# The test split


def test_the_test_split_is_read_only_when_asked_for(folder: Path) -> None:
    damaged = folder / "test/dog/002.png"
    damaged.write_bytes(b"not an image")
    dataset = load_dataset(str(folder))
    with pytest.raises(DataError, match=r"test/dog/002\.png"):
        dataset.read_test()
    damaged.unlink()
    test = load_dataset(str(folder)).read_test()
    assert test is not None
    assert counts_of(test.labels, 2) == [3, 3]


def test_loading_opens_no_file_of_the_test_split(folder: Path, tmp_path: Path) -> None:
    """Every file the interpreter opens is watched, in a process of its own: an audit hook cannot be taken off."""
    script = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
from nas.training.data import load_dataset
dataset = load_dataset(sys.argv[1])
print(sum("/train/" in name for name in opened), sum("/test/" in name for name in opened))
dataset.read_test()
print(sum("/test/" in name for name in opened))
"""
    ran = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    before, after = ran.stdout.splitlines()
    assert int(before.split()[0]) >= 30
    assert before.split()[1] == "0"
    assert after == "7"


def test_npz_reads_its_test_arrays_only_when_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "shapes.npz", arrays(), x_test=np.array([object()]))  # a pickle, never read
    dataset = load_dataset(path)
    with pytest.raises(DataError, match="x_test is a pickled object array"):
        dataset.read_test()


def test_the_test_split_fits_the_others(tmp_path: Path) -> None:
    grey = arrays(shape=(8, 8))
    path = save(tmp_path / "shapes.npz", arrays(), x_test=np.zeros((12, 20, 16, 3), np.uint8))
    test = load_dataset(path).read_test()
    assert test is not None
    assert test.images.shape == (12, 3, 8, 8)
    wrong = load_dataset(save(tmp_path / "shapes.npz", arrays(), x_test=grey["x_test"]))
    with pytest.raises(DataError, match="1 channels: 3 are expected"):
        wrong.read_test()


def test_data_without_a_test_split_has_none(tmp_path: Path) -> None:
    assert load_dataset(str(make_folder(tmp_path / "f", {"train/a": 3, "train/b": 3}))).read_test() is None
    assert load_dataset(save(tmp_path / "a.npz", arrays(), x_test=None, y_test=None)).read_test() is None


# What a dataset is


def test_digits_are_grey_eight_by_eight_with_a_fixed_test_split() -> None:
    dataset, other = load_dataset("digits"), load_dataset("digits", seed=1)
    assert (dataset.channels, dataset.resolution, dataset.mirror, dataset.default_space) == (1, 8, False, "tiny")
    assert dataset.classes == tuple("0123456789")
    assert dataset.train.images.dtype == torch.uint8
    assert dataset.train.images.max() == 255
    test, other_test = dataset.read_test(), other.read_test()
    assert test is not None
    assert other_test is not None
    assert len(dataset.train) + len(dataset.validation) + len(test) == 1797
    assert len(test) == 359
    assert torch.equal(test.images, other_test.images)
    assert dataset.fingerprint != other.fingerprint


def test_images_lie_in_channels_last_order_and_labels_fit_them(folder: Path) -> None:
    dataset = load_dataset(str(folder))
    assert dataset.train.images.is_contiguous(memory_format=torch.channels_last)
    assert dataset.train.images.shape == (27, 3, 8, 8)
    assert dataset.train.labels.dtype == torch.int64
    names = [sorted((folder / "train" / name).iterdir()) for name in dataset.classes]
    pixels = {np.asarray(Image.open(path)).tobytes(): label for label, paths in enumerate(names) for path in paths}
    for split in (dataset.train, dataset.validation):
        for image, label in zip(split.images, split.labels, strict=True):
            assert pixels[image.permute(1, 2, 0).numpy().tobytes()] == label


def test_take_gives_the_images_at_the_positions(folder: Path) -> None:
    train = load_dataset(str(folder)).train
    positions = torch.tensor([5, 0, 5])
    images, labels = train.take(positions)
    assert torch.equal(images, train.images[positions])
    assert torch.equal(labels, train.labels[positions])
    assert images.is_contiguous(memory_format=torch.channels_last)


def test_mean_and_std_are_those_of_the_training_split(folder: Path) -> None:
    dataset = load_dataset(str(folder))
    values = dataset.train.images.double() / 255
    assert dataset.mean == pytest.approx(values.mean(dim=(0, 2, 3)).tolist())
    assert dataset.std == pytest.approx(values.std(dim=(0, 2, 3), correction=0).tolist())


def test_a_channel_without_variation_keeps_a_usable_std(tmp_path: Path) -> None:
    dataset = load_dataset(save(tmp_path / "flat.npz", arrays(), x_train=np.full((40, 8, 8, 3), 7, np.uint8)))
    assert dataset.std == pytest.approx((1 / 255,) * 3)


def test_the_fingerprint_follows_pixels_labels_and_class_names_but_not_the_path(tmp_path: Path) -> None:
    values = arrays()
    original = load_dataset(save(tmp_path / "one.npz", values)).fingerprint
    assert load_dataset(save(tmp_path / "two.npz", values)).fingerprint == original
    pixel = values["x_train"].copy()
    pixel[17, 3, 4, 1] ^= 1
    labels = values["y_train"][[1, 0, *range(2, 40)]]
    changes = [{"x_train": pixel}, {"y_train": labels}, {"classes": np.array(["a", "b", "c", "d"])}]
    prints = [load_dataset(save(tmp_path / "one.npz", values, **change)).fingerprint for change in changes]
    assert len({original, *prints}) == 4
    assert load_dataset(save(tmp_path / "one.npz", values, x_test=pixel[:12])).fingerprint == original


def test_a_dataset_moves_and_pickles_with_its_test_split(folder: Path) -> None:
    dataset = load_dataset(str(folder)).to("cpu")
    copy: Dataset = pickle.loads(pickle.dumps(dataset))
    test = copy.read_test()
    assert test is not None
    assert len(test) == 7
    assert "images" not in repr(dataset)


# Folders


def test_mixed_sizes_and_modes_become_one_size_of_colour(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "mixed", {"train/a": 4}, size=(40, 30))
    make_folder(root, {"train/b": 4}, size=(25, 90), mode="RGBA")
    make_folder(root, {"train/c": 4}, size=(33, 26), mode="L")
    Image.new("CMYK", (50, 50)).save(root / "train/c/odd.JPEG")
    dataset = load_dataset(str(root))
    assert dataset.train.images.shape[1:] == (3, 24, 24)
    assert dataset.default_space == "cifar"


@pytest.mark.parametrize(("size", "expected"), [((300, 200), 64), ((31, 47), 24), ((5, 3), 8)])
def test_the_default_resolution_is_the_median_shorter_side(
    tmp_path: Path, size: tuple[int, int], expected: int
) -> None:
    root = make_folder(tmp_path / "f", {"train/a": 3, "train/b": 3}, size=size)
    assert load_dataset(str(root)).resolution == expected
    assert load_dataset(str(root), resolution=20).resolution == 20


@pytest.mark.parametrize("mode", ["1", "L", "LA"])
def test_a_grey_folder_has_one_channel(tmp_path: Path, mode: str) -> None:
    root = make_folder(tmp_path / "grey", {"train/a": 3, "train/b": 3}, mode=mode)
    assert load_dataset(str(root)).train.images.shape == (5, 1, 8, 8)


def test_a_resolution_applies_to_named_data_and_arrays_too(tmp_path: Path) -> None:
    digits = load_dataset("digits", resolution=12, limit_train=40)
    test = digits.read_test()
    assert digits.train.images.shape[1:] == (1, 12, 12)
    assert test is not None
    assert test.images.shape[1:] == (1, 12, 12)
    wide = save(tmp_path / "wide.npz", arrays(shape=(10, 14, 3)))
    assert load_dataset(wide).train.images.shape[1:] == (3, 10, 10)
    for resolution in (0, 3, 5000):
        refuse("digits", "resolution", resolution=resolution)


def test_hidden_files_are_passed_over_and_folders_below_a_class_are_read(folder: Path) -> None:
    for name in (".DS_Store", "train/.DS_Store", "train/cat/.DS_Store", "train/cat/Thumbs.db", "train/notes.txt"):
        (folder / name).write_bytes(b"x")
    (folder / "train/.ipynb_checkpoints").mkdir()
    make_folder(folder, {"train/dog/more": 4})
    dataset = load_dataset(str(folder))
    assert dataset.classes == ("cat", "dog")
    assert len(dataset.train) + len(dataset.validation) == 34


def test_odd_class_names_are_kept(tmp_path: Path) -> None:
    names = sorted(["🐈‍⬛ cat", "it's; DROP--", "ünï cödé", '"quoted"', "a b"])
    dataset = load_dataset(str(make_folder(tmp_path / "odd 🐕", {f"train/{name}": 3 for name in names})))
    assert dataset.classes == tuple(names)
    assert dataset.name == "odd 🐕"


@pytest.mark.parametrize("name", ["new\nline", "bell\x07", os.fsdecode(b"bytes\xff")])
def test_class_names_that_are_no_plain_text_are_refused(tmp_path: Path, name: str) -> None:
    root = make_folder(tmp_path / "f", {"train/a": 3})
    try:
        make_folder(root, {f"train/{name}": 3})
    except OSError:
        pytest.skip("this file system does not take such names")
    refuse(root, "control characters")


def test_damaged_and_foreign_files_of_a_folder_are_named(folder: Path) -> None:
    good = (folder / "train/dog/004.png").read_bytes()
    (folder / "train/dog/004.png").write_bytes(good[:-60])
    refuse(folder, "train/dog/004.png", "damaged")
    (folder / "train/dog/004.png").write_bytes(good)
    (folder / "train/dog/list.csv").write_text("x")
    refuse(folder, "train/dog/list.csv", "not an image")
    (folder / "train/dog/list.csv").rename(folder / "test/dog/list.csv")
    refuse(folder, "test/dog/list.csv", "not an image")
    (folder / "test/dog/list.csv").unlink()
    (folder / "train/stray.png").write_bytes(good)
    refuse(folder, "train/stray.png", "beside the class folders")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ({}, ["is empty", "train/<class>"]),
        ({"cat": 3, "dog": 3}, ["has no folder train/"]),
        ({"train": 0}, ["has no class folders"]),
        ({"train/cat": 3}, ["has 1 class", "at least 2"]),
        ({"train/cat": 3, "train/dog": 0}, ["train/dog", "is empty"]),
        ({"train/cat": 3, "train/dog": 1}, ["a single training image of class 'dog'"]),
        ({"train/a": 3, "train/b": 3, "test/a": 1, "test/c": 1}, ["['b'] only in train/", "['c'] only in test/"]),
        ({"train/a": 3, "train/b": 3, "val/a": 1}, ["['b'] only in train/"]),
        ({"train/a": 3, "train/b": 3, "test/a": 1, "test/b": 0}, ["test/b", "is empty"]),
        ({"train/a": 3, "train/b": 3, "test": 0}, ["has no class folders"]),
    ],
)
def test_folders_that_cannot_be_trained_on_say_why(tmp_path: Path, counts: dict[str, int], words: list[str]) -> None:
    (tmp_path / "root").mkdir()
    refuse(make_folder(tmp_path / "root", counts), *words)


def test_folders_that_link_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "train/cat/again").symlink_to(folder / "train/cat", target_is_directory=True)
    refuse(folder, "train/cat/again", "links back")


# Arrays


def test_npz_arrays_with_and_without_channels_and_names(tmp_path: Path) -> None:
    colour = load_dataset(save(tmp_path / "shapes.npz", arrays(), classes=np.array(["a", "b", "c", "d'"])))
    assert (colour.name, colour.channels, colour.classes) == ("shapes", 3, ("a", "b", "c", "d'"))
    grey = load_dataset(save(tmp_path / "grey.npz", arrays(shape=(8, 8))))
    assert (grey.channels, grey.classes) == (1, ("0", "1", "2", "3"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x_train": None, "y_train": None}, ["no x_train and no y_train"]),
        ({"y_train": None}, ["no y_train"]),
        ({"y_test": None}, ["only one of x_test and y_test"]),
        ({"x_train": np.zeros((40, 8, 8, 3))}, ["x_train is float64, not uint8"]),
        ({"x_train": np.zeros((40, 3, 8, 8), np.uint8)}, ["x_train has shape (40, 3, 8, 8)"]),
        ({"x_train": np.zeros((0, 8, 8, 3), np.uint8)}, ["x_train has shape (0, 8, 8, 3)"]),
        ({"x_train": np.array([object()])}, ["x_train is a pickled object array"]),
        ({"y_train": np.zeros(40)}, ["y_train is float64"]),
        ({"y_train": np.zeros((40, 1), int)}, ["of shape (40, 1)"]),
        ({"y_train": np.zeros(39, int)}, ["40 images", "39 labels"]),
        ({"y_train": np.zeros(40, int)}, ["has 1 class"]),
        ({"y_train": np.arange(40) % 4 - 1}, ["y_train holds labels -1 to 2"]),
        ({"y_train": np.arange(40) % 4 * 2}, ["no training images of class '1'"]),
        ({"y_train": np.arange(40) * 10**15}, ["y_train holds a label 39000000000000000"]),
        ({"classes": np.array(["a", "b"])}, ["y_train holds labels 0 to 3, not 0 to 1"]),
        ({"classes": np.array(["a", "b", "c", "d", "e"])}, ["no training images of class 'e'"]),
        ({"classes": np.array(["a", "b", "a", "d"])}, ["same name", "'a'"]),
        ({"classes": np.array(["a", "b", "c", "d\n"])}, ["control characters"]),
        ({"classes": np.array(["a", "b", "c", ""])}, ["blank"]),
        ({"classes": np.zeros(4)}, ["classes is float64"]),
        ({"classes": np.array([None])}, ["classes is a pickled object array"]),
    ],
)
def test_arrays_that_cannot_be_trained_on_are_named(
    tmp_path: Path, changes: dict[str, np.ndarray | None], words: list[str]
) -> None:
    refuse(save(tmp_path / "bad.npz", arrays(), **changes), *words)


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    whole = Path(save(tmp_path / "whole.npz", arrays())).read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[:-500])
    (tmp_path / "flipped.npz").write_bytes(whole[:1000] + bytes([whole[1000] ^ 1]) + whole[1001:])
    (tmp_path / "words.npz").write_text("words")
    (tmp_path / "empty.npz").write_bytes(b"")
    central = whole.index(b"PK\x01\x02")  # the first entry of the directory: bytes 10 and 11 name the compression
    (tmp_path / "method.npz").write_bytes(whole[: central + 10] + b"\x63" + whole[central + 11 :])
    for name in ("cut.npz", "flipped.npz", "words.npz", "empty.npz", "method.npz"):
        refuse(tmp_path / name, name, "damaged")
    with (tmp_path / "single.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    refuse(tmp_path / "single.npz", "single array")
    (tmp_path / "table.csv").write_text("a,b")
    refuse(tmp_path / "table.csv", "neither a folder of images nor a .npz file")


def test_a_pickle_in_an_npz_is_never_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    refuse(save(tmp_path / "bomb.npz", arrays(), y_train=np.array([Bomb()])), "pickled")
    assert not (tmp_path / "exploded").exists()


# Names


def test_unknown_names_list_what_there_is_and_guess() -> None:
    message = refuse("cifar_10", "unknown dataset 'cifar_10'", "did you mean cifar10?", "train/<class>", ".npz")
    assert all(name in message for name in DATASETS)
    assert "did you mean" not in refuse("zzz", "unknown dataset")


@pytest.mark.parametrize("name", ["", "no\nsuch", "x" * 5000, "a\x00b", "'; DROP TABLE--", "🐈"])
def test_hostile_names_are_refused_in_one_line(name: str) -> None:
    assert "\n" not in refuse(name, "unknown dataset")


@pytest.mark.parametrize("name", ["no/such/folder", "missing.npz", "../../nowhere"])
def test_paths_that_do_not_exist_say_so(name: str) -> None:
    refuse(name, "there is no folder or file", name)


def test_a_registered_reader_is_one_function(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DATASETS", dict(DATASETS))

    def read_stripes(request: Request) -> Source:
        labels = np.arange(40) % 2
        images = np.where(labels[:, None, None, None], np.arange(16)[:, None], np.arange(16)) * np.ones((16, 16), int)
        return Source(("across", "down"), ArrayExamples((images * 15)[:, 0, :, :, None].astype(np.uint8), labels))

    register_dataset("stripes", read_stripes)
    dataset = load_dataset("stripes")
    assert (dataset.name, dataset.channels, dataset.resolution, len(dataset.train)) == ("stripes", 1, 16, 36)
    assert dataset.read_test() is None
    for name in ("stripes", "digits", "", "a/b", "x.npz"):
        with pytest.raises(DataError):
            register_dataset(name, read_stripes)


def test_a_reader_that_breaks_its_contract_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "DATASETS", dict(DATASETS))
    examples = ArrayExamples(np.zeros((40, 8, 8, 3)), np.arange(40) % 2)
    register_dataset("floats", lambda request: Source(("a", "b"), examples))
    refuse("floats", "float64", "not uint8")
    register_dataset("strings", lambda request: Source(("a", "b"), ArrayExamples(examples.images, np.array(["a"]))))
    refuse("strings", "not integers")


def test_the_data_directory_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NAS_DATA_DIR", str(tmp_path))
    assert default_data_dir() == tmp_path
    monkeypatch.delenv("NAS_DATA_DIR")
    assert default_data_dir().name == "nas"


# CIFAR


@pytest.mark.parametrize(
    ("name", "archive"), [("cifar10", "cifar-10-python.tar.gz"), ("cifar100", "cifar-100-python.tar.gz")]
)
def test_without_a_network_the_message_says_where_the_archive_belongs(
    name: str, archive: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import urllib.error
    import urllib.request

    def no_network(*args: object, **more: object) -> None:
        raise urllib.error.URLError("no network here")

    monkeypatch.setattr(urllib.request, "urlopen", no_network)
    refuse(name, archive, str(tmp_path), "--dataset digits", "no network here", data_dir=tmp_path)
    refuse(name, archive, "switched off", data_dir=tmp_path, download=False)
    (tmp_path / archive).write_bytes(b"half an archive")
    refuse(name, archive, "damaged", "--dataset digits", data_dir=tmp_path)
    assert capsys.readouterr().out == ""


def cifar_archive(monkeypatch: pytest.MonkeyPatch, where: Path) -> Path:
    """A tiny archive in CIFAR-10's layout, with torchvision told its checksums."""
    import hashlib
    import io
    import tarfile

    from torchvision.datasets import CIFAR10

    def batch(seed: int) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 3072), dtype=np.uint8)
        return pickle.dumps({"data": pixels, "labels": [index % 10 for index in range(20)]})

    names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    files = {f"data_batch_{index}": batch(index) for index in range(1, 6)}
    files |= {"test_batch": batch(6), "batches.meta": pickle.dumps({"label_names": names})}
    archive = where / CIFAR10.filename
    with tarfile.open(archive, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{CIFAR10.base_folder}/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    monkeypatch.setattr(CIFAR10, "train_list", [[name, sums[name]] for name in files if name.startswith("data")])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": sums["batches.meta"]})
    monkeypatch.setattr(CIFAR10, "tgz_md5", hashlib.md5(archive.read_bytes()).hexdigest())
    return where / CIFAR10.base_folder


def test_an_archive_put_in_place_is_unpacked_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    unpacked = cifar_archive(monkeypatch, tmp_path)
    dataset = load_dataset("cifar10", data_dir=tmp_path, download=False)
    assert (dataset.classes[3], dataset.mirror, dataset.train.images.shape) == ("cat", True, (90, 3, 32, 32))
    raw = pickle.loads((unpacked / "data_batch_1").read_bytes())["data"].reshape(-1, 3, 32, 32)
    pixels = {image.tobytes() for image in raw}
    images = torch.cat([dataset.train.images, dataset.validation.images])
    assert sum(image.contiguous().numpy().tobytes() in pixels for image in images) == 20
    test = dataset.read_test()
    assert test is not None
    assert len(test) == 20
    assert capsys.readouterr().out == ""


def test_cifar_reads_its_test_batch_only_when_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked = cifar_archive(monkeypatch, tmp_path)
    load_dataset("cifar10", data_dir=tmp_path, download=False)
    (tmp_path / "cifar-10-python.tar.gz").unlink()
    (unpacked / "test_batch").write_bytes(b"damaged")
    dataset = load_dataset("cifar10", data_dir=tmp_path, download=False)
    with pytest.raises(DataError, match="CIFAR10"):
        dataset.read_test()


# The real images


@pytest.fixture
def real_images() -> str:
    path = os.environ.get("NAS_TEST_IMAGES")
    if not path:
        pytest.skip("NAS_TEST_IMAGES names no folder of real images")
    return path


@pytest.mark.images
def test_the_real_images_load_as_cifar_10(real_images: str) -> None:
    dataset = load_dataset(real_images, limit_train=8000)
    assert (len(dataset.train), len(dataset.validation)) == (7200, 800)
    assert (dataset.channels, dataset.resolution, len(dataset.classes)) == (3, 32, 10)
    assert counts_of(dataset.validation.labels, 10) == [80] * 10
    assert dataset.mean == pytest.approx((0.491, 0.482, 0.447), abs=0.01)
    test = dataset.read_test()
    assert test is not None
    assert counts_of(test.labels, 10) == [1000] * 10
