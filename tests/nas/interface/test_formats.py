"""An .onnx or .pt2 file gives the network's logits for any batch, says what it needs, or is not written."""

from __future__ import annotations

import hashlib
import json
import random
import re
import shutil
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from command import done, python, refused
from networks import trained_network
from PIL import Image
from searched import Searched
from torch import Tensor, nn

import nas
from nas.errors import NasError, RunError
from nas.formats import MAX_ONNX_BYTES, Converted, convert
from nas.trained import TrainedNetwork
from searchspace import Architecture, Head, Stage, reference, scale
from searchspace.blocks import (
    BLOCKS,
    ChannelBoost,
    Conv,
    ConvLayer,
    Dense,
    Inception,
    InceptionResidual,
    MBConv,
    Pool,
    PoolLayer,
    Residual,
    SplitLayer,
)
from searchspace.space import Task
from searchspace.spaces import SPACES, find_space

SMALL = Architecture(resolution=8, classes=3, stages=(Stage(block=Conv(width=4)),))
MIXED = Architecture(
    resolution=16,
    classes=4,
    stem=(Stage(block=ChannelBoost(width=8)), Stage(block=Conv(width=8, separable=True, activation="hardswish"))),
    stages=(
        Stage(block=Residual(width=16, squeeze_excite=0.25, norm="group", shortcut="padding"), stride=2),
        Stage(block=Residual(width=16, preactivation=True, bottleneck=0.5, cardinality=2, activation="gelu")),
        Stage(block=MBConv(width=16, expansion=2.0), depth=2),
        Stage(
            block=Inception(
                branches=(
                    (
                        ConvLayer(width=8, kernel_size=(1, 1)),
                        SplitLayer(branches=((ConvLayer(width=4, kernel_size=(1, 3)),), (PoolLayer(),))),
                    ),
                    (PoolLayer(operation="average"), ConvLayer(width=8, kernel_size=(1, 1))),
                )
            ),
        ),
        Stage(block=InceptionResidual(width=16, branches=((ConvLayer(width=8, kernel_size=(3, 1)),),))),
        Stage(block=Dense(growth_rate=8, compression=0.5), depth=2, stride=2),
        Stage(block=Pool(ceil_mode=True, kernel_size=3)),
    ),
    head=Head(norm="batch", pool="max", pool_size=3, hidden=(8,), dropout=0.2),
    drop_path=0.3,
)
LINEAGES = (
    "lenet5", "alexnet", "vgg11", "googlenet", "inception_v3", "inception_resnet_v2", "resnet18", "resnext50_32x4d",
    "resnet20", "wrn_16_8", "densenet121", "densenet_bc_100_12", "mobilenet_v2", "mnasnet0_5", "efficientnet_b0",
    "efficientnet_v2_s",
)  # fmt: skip


def pixels_of(network: TrainedNetwork, count: int) -> Tensor:
    shape = (count, network.channels, network.input_size, network.input_size)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(count))


def by_the_file_alone(file: Path, pixels: Tensor) -> Tensor:
    if file.suffix == ".onnx":
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])
    return torch.export.load(file).module()(pixels)


def require_equal(network: TrainedNetwork, file: Path) -> Converted:
    written = convert(network, file)
    largest = 0.0
    for count in (1, 2, 5):
        pixels = pixels_of(network, count)
        with torch.inference_mode():
            expected, found = network(network.normalise(pixels)), by_the_file_alone(file, pixels)
        assert found.shape == (count, network.architecture.classes)
        assert expected.abs().max() > 0.01
        assert (found - expected).abs().max() <= 1e-4 * expected.abs().max(), count
        largest = max(largest, expected.abs().max().item())
    assert written.largest_logit_difference <= 1e-3 * largest
    assert (written.bytes, written.sha256) == (file.stat().st_size, hashlib.sha256(file.read_bytes()).hexdigest())
    return written


@pytest.mark.parametrize("name", ["net.onnx", "net.pt2"])
def test_all_families_with_uneven_max_pooling_give_equal_logits_for_any_batch(name: str, tmp_path: Path) -> None:
    network = trained_network(MIXED)
    written = require_equal(network, tmp_path / name)
    assert (written.format, written.opset) == (("onnx", 18) if name == "net.onnx" else ("pt2", None))
    data = (tmp_path / name).read_bytes()
    folders = [str(Path(module.__file__ or "/").parent).encode() for module in (nas, torch, sys.modules[__name__])]
    assert not [folder for folder in folders if folder in data]  # where it was written is nobody's business


def test_the_mixed_network_has_a_block_of_every_family() -> None:
    ours = {kind for kind, block in BLOCKS.items() if block.__module__.startswith("searchspace.")}
    assert {stage.block.kind for stage in (*MIXED.stem, *MIXED.stages)} == ours


@pytest.mark.slow
@pytest.mark.parametrize("name", LINEAGES)
def test_a_reference_of_every_lineage_gives_equal_logits(name: str, tmp_path: Path) -> None:
    """A quarter as wide: what torch has to say is the same, at a sixteenth of the memory."""
    architecture = scale(reference(name, num_classes=10), width=0.25)
    network = trained_network(architecture.changed(resolution=min(96, architecture.resolution)))
    require_equal(network, tmp_path / "net.onnx")
    require_equal(network, tmp_path / "net.pt2")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("name", SPACES)
def test_sampled_networks_give_equal_logits(name: str, seed: int, tmp_path: Path) -> None:
    space = find_space(name)
    network = trained_network(
        space.decode(space.random(random.Random(seed)), Task(channels=3, resolution=32, classes=10))
    )
    require_equal(network, tmp_path / "net.onnx")
    require_equal(network, tmp_path / "net.pt2")


def test_a_network_of_another_resolution_than_its_images_scales_them_inside(tmp_path: Path) -> None:
    network = trained_network(SMALL.changed(resolution=21, channels=1), input_size=16)
    require_equal(network, tmp_path / "net.onnx")


def test_the_file_alone_says_what_it_takes_and_gives(tmp_path: Path) -> None:
    network = trained_network(SMALL)
    network.to_onnx(tmp_path / "net.onnx")
    network.to_pt2(tmp_path / "net.pt2")
    model = onnx.load(tmp_path / "net.onnx")
    onnx.checker.check_model(model, full_check=True)
    facts = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(facts["classes"]) == list(network.classes)
    assert json.loads(facts["mean"]) == list(network.card.mean)
    assert (facts["input_size"], facts["channels"]) == ("8", "3")
    (given,), (made,) = model.graph.input, model.graph.output
    assert (given.name, made.name) == ("pixels", "logits")
    assert [side.dim_param or side.dim_value for side in given.type.tensor_type.shape.dim] == ["batch", 3, 8, 8]
    assert given.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    extra = {"nas.json": ""}
    torch.export.load(tmp_path / "net.pt2", extra_files=extra)
    again = json.loads(extra["nas.json"])
    assert {key: value if isinstance(value, str) else json.dumps(value) for key, value in again.items()} == facts
    saved = network.save_pretrained(tmp_path / "net")
    assert again["weights_sha256"] == saved.weights_sha256


def test_the_network_is_left_as_it_was(tmp_path: Path) -> None:
    network = trained_network(SMALL).train().to(torch.bfloat16)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    state = torch.random.get_rng_state()
    network.to_pt2(tmp_path / "net.pt2")
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert torch.equal(torch.random.get_rng_state(), state)


class Deceiver(nn.Module):
    """Another function when torch looks than when it runs."""

    def __init__(self, error: float) -> None:
        super().__init__()
        self.error = error

    def forward(self, x: Tensor) -> Tensor:
        return x + self.error * x.abs().max() if torch.compiler.is_exporting() else x


class Branching(nn.Module):
    """What it does depends on values, which no graph says."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def with_last(layer: nn.Module) -> TrainedNetwork:
    network = trained_network(SMALL)
    network.network.head.classifier.append(layer)
    return network


@pytest.mark.parametrize("name", ["net.onnx", "net.pt2"])
def test_a_file_with_other_logits_is_not_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"logits differ from the network's by .* nothing was written"):
        convert(with_last(Deceiver(0.01)), tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    if name == "net.pt2":
        convert(with_last(Deceiver(1e-5)), tmp_path / name)  # the control: the deception itself is no obstacle


@pytest.mark.parametrize("name", ["net.onnx", "net.pt2"])
def test_a_layer_that_no_graph_says_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="torch cannot write this network as") as refusal:
        convert(with_last(Branching()), tmp_path / name)
    assert len(str(refusal.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_its_packages_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(NasError, match=re.escape("needs the package onnxruntime: pip install -e '.[onnx]'")):
        trained_network(SMALL).to_onnx(tmp_path / "net.onnx")
    trained_network(SMALL).to_pt2(tmp_path / "net.pt2")


def test_weights_beyond_what_a_protocol_buffer_holds_are_refused(tmp_path: Path) -> None:
    network = trained_network(SMALL)
    with torch.device("meta"):
        network.network.head.classifier.append(nn.Linear(1, MAX_ONNX_BYTES // 4))
    with pytest.raises(NasError, match=r"write a \.pt2 file"):
        network.to_onnx(tmp_path / "net.onnx")


CONVERTING = """
import sys
from nas.cli import main

def loaded():
    return sorted({"onnx", "onnxscript", "onnxruntime", "huggingface_hub"} & set(sys.modules))

main(["predict", sys.argv[1], "digit.png"], standalone_mode=False)
import nas.formats, nas.hub
assert loaded() == [], loaded()
main(["convert", sys.argv[1], "new/net.onnx", "--json"], standalone_mode=False)
assert loaded() == ["onnx", "onnxruntime", "onnxscript"], loaded()
"""


def test_the_command_line_converts_quietly_and_the_documented_code_runs_the_files(
    exported: Path, tmp_path: Path
) -> None:
    """And the optional packages are loaded for writing an ONNX file alone."""
    Image.linear_gradient("L").resize((40, 30)).save(tmp_path / "digit.png")
    answer = python(CONVERTING, exported, cwd=tmp_path)
    assert answer.code == 0, answer.err
    assert len(answer.err.splitlines()) == 1, answer.err
    label, document = answer.out.split("\n", 1)
    written = json.loads(document)
    assert (written["format"], written["opset"]) == ("onnx", 18)
    assert written["file"] == str(tmp_path / "new/net.onnx")
    assert written["sha256"] == hashlib.sha256((tmp_path / "new/net.onnx").read_bytes()).hexdigest()
    assert written["largest_logit_difference"] < 1e-3
    done("convert", exported, tmp_path / "new/net.pt2")
    code = [body for body in _python_of("docs/exports.md") if "import nas" not in body]
    assert len(code) == 2
    shutil.copy(tmp_path / "digit.png", tmp_path / "new")
    found = python("\n".join([*code, "import sys; assert 'nas' not in sys.modules"]), cwd=tmp_path / "new")
    (best,) = re.findall(r"digit.png: (\S+) ", label)
    assert (found.code, found.out.split()) == (0, [best] * 2), found.err


def _python_of(page: str) -> list[str]:
    text = (Path(nas.__file__).parent.parent / page).read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def test_what_cannot_be_written_is_refused_and_leaves_nothing(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "taken.onnx").write_text("mine")
    assert "exists" in refused("convert", exported, tmp_path / "taken.onnx")
    assert (tmp_path / "taken.onnx").read_text() == "mine"
    for name in ("net", "net.pt", "net.ONNX ", ".onnx", "net.h5"):
        assert ".onnx (ONNX) or .pt2 (torch.export)" in refused("convert", exported, tmp_path / name)
    assert "no export folder" in refused("convert", tmp_path / "absent", tmp_path / "net.pt2")
    assert "cannot write" in refused("convert", exported, tmp_path / "taken.onnx" / "net.pt2")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.onnx"]


def test_an_export_writes_the_formats_into_its_folder(study_copy: Searched, tmp_path: Path) -> None:
    out = tmp_path / "net"
    options = ("--storage", study_copy.storage, "--weights", "stored", "--out", out)
    answer = done("export", *options, "--format", "pt2", "--format", "pt2", "--json")
    (written,) = answer.document["files"]
    assert written["file"] == str(out / "model.pt2")
    network = nas.load(out)
    pixels = pixels_of(network, 2)
    with torch.inference_mode():
        expected = network(network.normalise(pixels))
    assert torch.allclose(by_the_file_alone(out / "model.pt2", pixels), expected, atol=1e-5)
