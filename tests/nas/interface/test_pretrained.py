"""Starting from somebody else's weights: torchvision's, or a file's, which may be damaged, foreign or malicious."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from command import done, python, refused
from pictures import make_folder, make_npz
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.models import get_model, get_model_weights

import nas
from nas.architectures import find_architecture
from nas.errors import NasError
from nas.pretrained import Start, find_start, from_file, preparation, published, published_names
from nas.training.data import load_dataset
from searchspace import build, reference
from searchspace.references.weights import load_torchvision

NAME = "mnasnet0_5"  # the smallest of torchvision's
State = dict[str, Tensor]


def torchvision_state(name: str = NAME, **settings: Any) -> State:
    torch.manual_seed(0)
    return get_model(name, weights=None, **settings).state_dict()


@pytest.fixture(scope="session")
def state() -> State:
    """Weights made on the spot, as torchvision's network of this name has them. Tests change copies."""
    return torchvision_state()


@pytest.fixture(autouse=True)
def checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision keeps downloads, empty, without network."""

    def unreachable(*arguments: Any, **settings: Any) -> None:
        raise URLError("there is no network here")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    return tmp_path / "torch/hub/checkpoints"


def file_name(name: str = NAME) -> str:
    return get_model_weights(name)["DEFAULT"].url.rsplit("/", 1)[1]


def place(checkpoints: Path, state: State, name: str = NAME) -> Path:
    """The weights as if they had been downloaded."""
    checkpoints.mkdir(parents=True)
    torch.save(state, checkpoints / file_name(name))
    return checkpoints / file_name(name)


def saved(file: str, content: Any) -> Path:
    torch.save(content, file)
    return Path(file)


# From the command line


def test_pretrained_weights_are_fine_tuned_exported_and_need_no_download_again(
    checkpoints: Path, state: State, pictures: Path, tmp_path: Path
) -> None:
    file = place(checkpoints, state)
    command = ("train", NAME, "--pretrained", "--dataset", pictures, "--resolution", "32", "--epochs", "2")
    answer = done(*command, "--batch-size", "16", "--out", "net", "--json")
    assert answer.document["epochs"] == 2
    lines = answer.err.splitlines()
    assert lines[0] == (
        "starting from MNASNet0_5_Weights.IMAGENET1K_V1: images of 32 pixels, "
        "normalised by the weights' mean and standard deviation"
    )
    card = nas.load("net").card
    assert card.recipe["start"] == {
        "weights": "MNASNet0_5_Weights.IMAGENET1K_V1",
        "file": file.name,
        "sha256": _sha256(file),
    }
    assert (card.mean, card.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (card.recipe["training"]["frozen_epochs"], card.classes) == (1, ("blue", "green", "red"))
    file.unlink()
    code = """
import sys, urllib.request
def refuse(*arguments, **settings): raise AssertionError("it wanted the network")
urllib.request.urlopen = refuse
import nas
network = nas.load("net")
print(network.predict(sys.argv[1]).label in network.classes)
"""
    picture = next((pictures / "test" / "red").iterdir())
    assert python(code, picture, cwd=tmp_path).out == "True\n"


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_without_network_the_file_and_its_place_are_named(checkpoints: Path) -> None:
    told = refused("train", NAME, "--pretrained", "--dataset", "digits", "--json")
    assert file_name() in told
    assert str(checkpoints) in told
    assert "there is no network here" in told
    assert "--weights" in told
    assert "http" not in told
    assert list(checkpoints.iterdir()) == []


def test_a_damaged_download_is_refused_by_its_hash_and_not_kept(
    checkpoints: Path, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = io.BytesIO()
    torch.save(state, content)

    class Response(io.BytesIO):
        def info(self) -> Message:
            return Message()

    monkeypatch.setattr("torch.hub.urlopen", lambda request: Response(content.getvalue()))
    told = refused("train", NAME, "--pretrained", "--dataset", "digits", "--json")
    assert "damaged" in told
    assert "hash" in told
    assert list(checkpoints.iterdir()) == []


def test_a_placed_file_is_checked_like_any_other(checkpoints: Path, state: State) -> None:
    file = place(checkpoints, state)
    file.write_bytes(file.read_bytes()[:5000])
    assert "damaged" in refused("train", NAME, "--pretrained", "--dataset", "digits")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("resnet20", "--pretrained"), "resnet50"),
        (("net.json", "--pretrained"), "'net.json'"),
        ((NAME, "--pretrained", "--weights", "w.pth"), "leave one out"),
        ((NAME, "--weights", "no.pth"), "is not there"),
        ((NAME, "--weights", "."), "is a folder"),
        ((NAME, "--weights", "w.pth", "--boost", "random"), "--boost"),
        (("net.json", "--weights", "w.pth"), "holds no weights of net.json"),
    ],
)
def test_what_cannot_be_asked_for_is_refused(state: State, arguments: tuple[str, ...], words: str) -> None:
    saved("w.pth", state)
    Path("net.json").write_text(reference("resnet18").to_json())
    assert words in refused("train", *arguments, "--dataset", "digits", "--limit-train", "50")


def test_in_python_a_reference_is_given_by_its_name() -> None:
    with pytest.raises(NasError, match="given by its name"):
        nas.train(reference(NAME), "digits", pretrained=True)


# What a file may be


def load(file: Path | str, name: str = NAME) -> Start:
    return from_file(name, find_architecture(name), file)


def same(start: Start, expected: State) -> bool:
    return start.state.keys() == expected.keys() and all(
        torch.equal(start.state[key], expected[key]) for key in expected
    )


def test_a_state_dict_is_read_however_it_was_wrapped(state: State) -> None:
    wrapped: dict[str, Any] = {
        "plain.pth": state,
        "old.pt": state,
        "a.pth": {"state_dict": state, "epoch": 90, "best": 0.7},
        "b.pth": {"model": state, "optimizer": {"lr": 0.1}},
        "c.pth": {f"module.{key}": value for key, value in state.items()},
        "d.pth": {"state_dict": {f"module.{key}": value for key, value in state.items()}},
        "e.pth": {key: value.half() if value.is_floating_point() else value for key, value in state.items()},
    }
    for file, content in wrapped.items():
        torch.save(content, file, _use_new_zipfile_serialization=file != "old.pt")
    save_file(state, "f.safetensors")
    expected = load_torchvision(NAME, state)
    for file in (*wrapped, "f.safetensors"):
        assert file == "e.pth" or same(load(file), expected), file
    assert load("e.pth").state["head.classifier.1.weight"].dtype == torch.float32


def test_any_number_of_classes_is_accepted(state: State) -> None:
    last = {key: value[:7] if key.startswith("classifier.") else value for key, value in state.items()}
    start = load(saved("w.pth", last))
    assert start.architecture.classes == 7
    data = load_dataset("digits", limit_train=50)
    wanted = start.suited(NAME, reference(NAME), data, 16)
    network = build(wanted)
    kept = network.load_state_dict(start.trunk(wanted), strict=False)
    assert kept.missing_keys == ["head.classifier.1.weight", "head.classifier.1.bias"]
    assert kept.unexpected_keys == []
    assert wanted.classes == 10


class Malicious:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch ran",)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run_it(state: State) -> None:
    saved("zip.pth", {**state, "extra": Malicious()})
    torch.save({**state, "extra": Malicious()}, "old.pth", _use_new_zipfile_serialization=False)
    Path("raw.pt").write_bytes(pickle.dumps({"extra": Malicious()}))
    pickle.loads(Path("raw.pt").read_bytes())
    assert Path("ran").exists(), "the control: an unpickler that trusts the file runs it"
    Path("ran").unlink()
    for file in ("zip.pth", "old.pth", "raw.pt"):
        told = refused("train", NAME, "--weights", file, "--dataset", "digits")
        assert file in told
        assert "could run code" in told or file == "raw.pt"
        assert not Path("ran").exists()


ONE = "layers.0.weight"  # the first tensor, the stem's convolution
LATER = ("layers.1.weight", "layers.1.bias", "layers.1.running_mean")


def without(state: State, *names: str) -> State:
    return {name: tensor for name, tensor in state.items() if name not in names}


DAMAGE: dict[str, tuple[Callable[[State], Any], str]] = {
    "a list": (lambda state: [1, 2], "holds a list"),
    "a tensor": (lambda state: torch.ones(3), "holds a Tensor"),
    "empty": (lambda state: {}, "holds nothing"),
    "names that are numbers": (lambda state: {1: torch.ones(3)}, "not every entry is a dense tensor"),
    "numbers by name": (lambda state: {**state, "epoch": 3}, "'epoch'"),
    "sparse": (lambda state: {**state, ONE: state[ONE].to_sparse()}, ONE),
    "three missing": (lambda state: without(state, *LATER), f"3 missing ({', '.join(LATER)})"),
    "many missing": (
        lambda state: {name: state[name] for name in list(state)[9:]},
        f"({ONE}, {', '.join(LATER[:2])}, ...",
    ),
    "unknown": (lambda state: {**state, "later.weight": torch.ones(3)}, "1 unknown (later.weight)"),
    "mis-shaped": (lambda state: {**state, ONE: torch.ones(2, 2)}, f"{ONE} is (2, 2), expected (16, 3, 3, 3)"),
    "another network's": (lambda state: torchvision_state("resnet18"), "resnet18"),
    "NaN": (lambda state: {**state, ONE: state[ONE] * float("nan")}, "NaN or infinite: stem.0.0.conv.0.weight"),
    "infinite": (lambda state: {**state, ONE: state[ONE].double() * 1e300}, "NaN or infinite"),
    "complex": (lambda state: {**state, ONE: state[ONE].to(torch.complex64)}, "torch.complex64"),
    "integers": (lambda state: {**state, ONE: state[ONE].long()}, "torch.int64"),
    "a huge shape": (lambda state: {**state, ONE: torch.ones(1).expand(10**12)}, "1000000000000"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_a_file_that_does_not_fit_is_refused_by_what_is_wrong(state: State, what: str) -> None:
    content, words = DAMAGE[what]
    with pytest.raises(NasError) as error:
        load(saved("w.pth", content(state)))
    assert words in str(error.value)
    assert "w.pth" in str(error.value)


@pytest.mark.parametrize("kind", ["zip.pth", "old.pth", "plain.safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99])
def test_a_truncated_file_is_refused(state: State, kind: str, share: float) -> None:
    if kind.endswith("safetensors"):
        save_file(state, kind)
    else:
        torch.save(state, kind, _use_new_zipfile_serialization=kind == "zip.pth")
    whole = Path(kind).read_bytes()
    Path(kind).write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(NasError, match="damaged"):
        load(kind)


@pytest.mark.parametrize("content", [b"hello", b"\0" * 4096, bytes(range(256)) * 20, b"PK\x03\x04 no archive"])
@pytest.mark.parametrize("name", ["w.pth", "w.safetensors"])
def test_a_file_of_something_else_is_refused(content: bytes, name: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(NasError, match="damaged"):
        load(name)


def test_weights_that_overflow_are_refused_before_the_training(state: State) -> None:
    huge = {key: value * 1e30 if value.ndim == 4 else value for key, value in state.items()}
    saved("w.pth", huge | {key: value * 1e30 for key, value in state.items() if key.endswith("running_mean")})
    batch = {key: torch.full_like(value, 1e38) for key, value in state.items() if key.endswith(".bias")}
    saved("w.pth", state | batch)
    told = refused(
        "train", NAME, "--weights", "w.pth", "--dataset", "digits", "--limit-train", "50", "--resolution", "16"
    )
    assert "not finite" in told


# Preprocessing


def settle(network: nn.Module, images: Tensor) -> None:
    """Give every batch normalisation these images' statistics: with fresh ones, the logits hardly see the input."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    with torch.inference_mode():
        network(images)
    for norm in norms:
        norm.eval()


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_published_inception_weights_see_what_torchvisions_transform_input_makes(name: str, checkpoints: Path) -> None:
    torch.manual_seed(0)
    theirs = get_model(name, weights=None, transform_input=True, init_weights=False).double().eval()
    pixels = torch.rand(2, 3, 96, 96, dtype=torch.float64)
    settle(theirs, pixels)
    file = place(checkpoints, {key: value.float() for key, value in theirs.state_dict().items()}, name)
    theirs.load_state_dict({key: value.double() for key, value in torch.load(file).items()})
    start = published(name)
    assert start.moments is not None
    ours = build(start.architecture).double().eval()
    ours.load_state_dict({key: value.double() for key, value in start.state.items()})

    def normalised(mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
        return (pixels - torch.tensor(mean).double().view(-1, 1, 1)) / torch.tensor(std).double().view(-1, 1, 1)

    preset = get_model_weights(name)["DEFAULT"].transforms()
    with torch.inference_mode():
        expected = theirs(normalised(preset.mean, preset.std))
        largest = expected.abs().max()
        assert (ours(normalised(*start.moments)) - expected).abs().max() < 1e-6 * largest
        control = ours(normalised(preset.mean, preset.std))
    assert (control - expected).abs().max() > 1e-3 * largest, "the control: ImageNet's moments are not theirs"


@pytest.mark.parametrize("name", published_names())
def test_the_weights_own_transforms_are_taken(name: str) -> None:
    """Each has a crop and ImageNet's moments, but for the two that want -1 to 1."""
    preset = get_model_weights(name)["DEFAULT"].transforms()
    moments, resolution = preparation(name)
    halves = ((0.5,) * 3, (0.5,) * 3)
    assert moments == (halves if name in ("googlenet", "inception_v3") else (tuple(preset.mean), tuple(preset.std)))
    assert resolution == preset.crop_size[0]


def test_images_are_as_large_as_the_weights_crop_unless_asked_otherwise(state: State, pictures: Path) -> None:
    start = load(saved("w.pth", state))
    assert start.side(str(pictures), None) == 224, "a folder is decoded at the size that the network sees"
    assert start.side(str(pictures), 96) == 96
    assert start.side("cifar10", None) is None, "arrays keep their size, and their bytes"
    assert start.side(str(make_npz(Path("some.npz"))), None) is None
    data = load_dataset("digits", limit_train=50)
    assert start.suited(NAME, reference(NAME), data, None).resolution == 224
    small = start.suited(NAME, reference(NAME), data, 32)
    assert (small.name, small.resolution) == (f"{NAME} (CIFAR form)", 32)
    assert "images of 224 pixels" in start.line(start.suited(NAME, reference(NAME), data, None), data)


@pytest.mark.parametrize("name", ["googlenet", "resnet18"])
def test_weights_stand_in_the_cifar_form_as_in_the_published_one(name: str) -> None:
    settings = {"init_weights": False, "aux_logits": False} if name == "googlenet" else {}
    start = load(saved("w.pth", torchvision_state(name, **settings)), name)
    data = load_dataset("digits", limit_train=50)
    wanted = start.suited(name, reference(name), data, 32)
    assert wanted.name == f"{name} (CIFAR form)"
    trunk = start.trunk(wanted)
    network = build(wanted)
    assert network.load_state_dict(trunk, strict=False).unexpected_keys == []
    given = [tensor for key, tensor in start.state.items() if not key.startswith("head.classifier.")]
    assert [tensor.shape for tensor in trunk.values()] == [tensor.shape for tensor in given]
    assert all(torch.equal(one, other) for one, other in zip(trunk.values(), given, strict=True))


def test_grey_images_are_repeated_and_it_is_said(state: State) -> None:
    saved("w.pth", state)
    said: list[str] = []
    settings: dict[str, Any] = {"epochs": 1, "limit_train": 60, "resolution": 16, "out": "net", "say": said.append}
    nas.train(NAME, "digits", weights="w.pth", **settings)
    assert "grey ones repeated to 3 channels" in said[0]
    network = nas.load("net")
    assert (network.channels, len(network.card.mean)) == (3, 3)
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16), np.uint8))
    assert network.predict(grey) == network.predict(grey.convert("RGB"))
    prepared = load(Path("w.pth")).prepared(load_dataset("digits", limit_train=60))
    images = prepared.train.images
    assert torch.equal(images[:, 0], images[:, 2])
    assert images.shape[1] == prepared.channels == 3
    test = prepared.read_test()
    assert test is not None
    assert test.images.shape[1] == 3


# Our own weights


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network trained on coloured pictures."""
    folder = tmp_path_factory.mktemp("own")
    network = reference("resnet18", num_classes=3, resolution=16).changed(
        name="small", stem=(), stages=reference("resnet18").stages[:1]
    )
    (folder / "net.json").write_text(network.to_json())
    data = make_folder(folder / "data", train=12, test=2)
    done("train", folder / "net.json", "--dataset", data, "--epochs", "1", "--batch-size", "8", "--out", folder / "net")
    return folder


def test_an_exports_weights_start_its_own_architecture_with_its_own_moments(export: Path) -> None:
    weights = export / "net" / "model.safetensors"
    command = ("train", export / "net", "--weights", weights, "--dataset", "digits", "--limit-train", "60")
    answer = done(*command, "--epochs", "1", "--out", "again")
    assert "normalised by the weights' mean and standard deviation" in answer.err.splitlines()[0]
    card = nas.load("again").card
    assert card.mean == nas.load(export / "net").card.mean
    assert card.recipe["start"] == {"file": "model.safetensors", "sha256": nas.load(export / "net").card.weights_sha256}
    assert len(card.classes) == 10


def test_weights_of_ours_that_do_not_fit_are_refused_by_name(export: Path) -> None:
    own = load_file(export / "net" / "model.safetensors")
    found = find_architecture(str(export / "net"))
    names = list(own)
    cases: dict[str, State] = {
        f"1 missing ({sorted(names)[0]})": {name: own[name] for name in names if name != sorted(names)[0]},
        "1 unknown (more)": {**own, "more": torch.ones(1)},
        "is (2, 2), expected": {**own, "stages.0.0.branch.0.0.weight": torch.ones(2, 2)},
        "NaN or infinite": {**own, "head.classifier.1.weight": own["head.classifier.1.weight"] * float("inf")},
    }
    for words, content in cases.items():
        save_file(content, "w.safetensors")
        with pytest.raises(NasError) as error:
            from_file(str(export / "net"), found, "w.safetensors")
        assert words in str(error.value)


def test_coloured_images_are_refused_where_the_weights_know_grey_ones() -> None:
    architecture = reference("lenet5")
    save_file(build(architecture).state_dict(), "w.safetensors")
    start = find_start("lenet5", architecture, pretrained=False, weights="w.safetensors")
    assert start is not None
    data = load_dataset(str(make_npz(Path("some.npz"))))
    with pytest.raises(NasError, match="grey images"):
        start.prepared(data)


def test_weights_without_a_card_leave_the_datas_moments(export: Path) -> None:
    own = export / "net" / "model.safetensors"
    Path("alone.safetensors").write_bytes(own.read_bytes())
    start = from_file(str(export / "net"), find_architecture(str(export / "net")), "alone.safetensors")
    data = load_dataset("digits", limit_train=50)
    assert start.moments is None
    assert start.prepared(data).mean == data.mean * 3
    assert "the data's mean" in start.line(start.architecture, data)
