"""A trained network as a file for other runtimes: ONNX or torch's exported program, checked before it has its name."""

from __future__ import annotations

import copy
import hashlib
import importlib
import io
import json
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as tensor_bytes
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram
from torch.nn import functional

from nas.errors import NasError, RunError
from nas.files import write_whole
from nas.trained import TrainedNetwork
from nas.weights import plain_state

OPSET = 18  # onnxruntime 1.14 and later read it
FACTS = "nas.json"  # of a .pt2 file
TRACED, CHECKED = 2, (1, 3)  # images in a batch; torch takes a traced batch of one for a constant
TOLERANCE = 1e-3  # of the largest logit
MAX_ONNX_BYTES = (1 << 31) - 1  # of a protocol buffer
PACKAGES = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "pt2": ()}


@dataclass(frozen=True)
class Converted:
    """A written file. `largest_logit_difference` is to the network's own float32 logits; `opset` is ONNX's."""

    file: Path
    format: str
    opset: int | None
    largest_logit_difference: float
    bytes: int
    sha256: str


class FromPixels(nn.Module):
    """uint8 images (N, channels, input_size, input_size) to logits (N, classes): normalised and resized inside."""

    def __init__(self, network: TrainedNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        return self.network(self.network.normalise(pixels))


class WindowMax(nn.Module):
    """`nn.AdaptiveMaxPool2d` in operations that ONNX has, where the windows are not all equal: rows, then columns."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        for axis in (-2, -1):
            length = x.shape[axis]
            starts = [number * length // self.size for number in range(self.size)]
            ends = [-(-(number + 1) * length // self.size) for number in range(self.size)]
            windows = [x.narrow(axis, low, high - low) for low, high in zip(starts, ends, strict=True)]
            x = torch.cat([window.amax(axis, keepdim=True) for window in windows], axis)
        return x


def require_new(file: str | os.PathLike[str], format: str | None = None) -> str:
    """The format of a file that may be written: as its name ends, where none is given.

    Raises:
        NasError: the file exists, its name says no format, or a package of the format is not installed.
    """
    name = Path(file).suffix.removeprefix(".") if format is None else format
    if name not in FORMATS:
        raise NasError(f"{str(file)!r} must end in .onnx (ONNX) or .pt2 (torch.export), which says what to write")
    if "\0" in str(file):
        raise NasError(f"{str(file)!r} is no name for a file")
    if os.path.lexists(file):
        raise NasError(f"{str(file)!r} exists: choose another name, or remove it first")
    require_packages(name)
    return name


def require_packages(format: str) -> None:
    """Make sure that the optional packages of a format are there, before anything costly.

    Raises:
        NasError: one is not installed.
    """
    for package in PACKAGES[format]:
        try:
            importlib.import_module(package)
        except ImportError:
            raise NasError(f"writing ONNX needs the package {package}: pip install -e '.[onnx]'") from None


def convert(network: TrainedNetwork, file: str | os.PathLike[str], format: str | None = None) -> Converted:
    """Write the network to a new onnx or pt2 file (default: as its name ends): uint8 `pixels` to `logits`.

    The batch may have any size. What was written is run on batches of 1 and 3 images, by onnxruntime or torch, and its
    logits compared with the network's own in float32, before the file gets its name. The network is left as it is.

    Raises:
        NasError: the file exists or cannot be written, its name ends otherwise, or the extra `onnx` is not installed.
        RunError: the network cannot be said in this format, or gives other logits there; nothing was written.
    """
    path, name = Path(file), require_new(file, format)
    if name == "onnx":
        _require_size(network)
    plain = copy.deepcopy(network).to("cpu", torch.float32).eval()
    data, run = FORMATS[name](plain)
    difference = _largest_difference(plain, run, name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, data)
    except OSError as error:
        raise NasError(f"cannot write {str(path)!r}: {error.strerror or error}") from None
    opset = OPSET if name == "onnx" else None
    return Converted(path, name, opset, difference, len(data), hashlib.sha256(data).hexdigest())


def facts(network: TrainedNetwork) -> dict[str, Any]:
    """What a file says about itself, for whoever has nothing but the file."""
    return {
        "classes": list(network.classes),
        "input": f"pixels: uint8 (batch, {network.channels}, {network.input_size}, {network.input_size}), RGB or grey, "
        "the centre square of the image resized; normalised inside",
        "input_size": network.input_size,
        "channels": network.channels,
        "mean": list(network.card.mean),
        "std": list(network.card.std),
        "architecture_digest": network.architecture.digest,
        "weights_sha256": hashlib.sha256(tensor_bytes(plain_state(network.network))).hexdigest(),
    }


def _require_size(network: TrainedNetwork) -> None:
    size = 4 * sum(tensor.numel() for tensor in network.state_dict().values())
    if size > MAX_ONNX_BYTES:
        raise NasError(f"the weights have {size:,} bytes, an ONNX file at most {MAX_ONNX_BYTES:,}: write a .pt2 file")


Run = Callable[[Tensor], Tensor]


def onnx_bytes(network: TrainedNetwork) -> tuple[bytes, Run]:
    """An ONNX model and how onnxruntime runs it."""
    module = _without_uneven_max_pools(network)
    with _quiet("ONNX"):
        model = torch.onnx.export(
            module,
            (_pixels(network, TRACED),),
            dynamo=True,
            dynamic_shapes={"pixels": {0: Dim("batch", min=1)}},
            input_names=["pixels"],
            output_names=["logits"],
            opset_version=OPSET,
            external_data=False,
            verbose=False,
        )
        assert model is not None
        proto = model.model_proto
    _forget_the_machine(proto)
    for key, value in facts(network).items():
        proto.metadata_props.add(key=key, value=value if isinstance(value, str) else json.dumps(value))
    data = proto.SerializeToString()
    return data, _onnxruntime(data)


def _onnxruntime(data: bytes) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return lambda pixels: torch.from_numpy(session.run(["logits"], {"pixels": pixels.numpy()})[0])


def pt2_bytes(network: TrainedNetwork) -> tuple[bytes, Run]:
    """An exported program and how torch runs it."""
    with _quiet("an exported program"):
        program = _program(FromPixels(network), _pixels(network, TRACED))
        file = io.BytesIO()
        torch.export.save(program, file, extra_files={FACTS: json.dumps(facts(network))})
        loaded = torch.export.load(io.BytesIO(file.getvalue()))
    return file.getvalue(), loaded.module()


def _program(module: nn.Module, pixels: Tensor) -> ExportedProgram:
    with torch.no_grad():
        program = torch.export.export(module, (pixels,), dynamic_shapes={"pixels": {0: Dim("batch", min=1)}})
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the names of this machine's folders
    return program


FORMATS: dict[str, Callable[[TrainedNetwork], tuple[bytes, Run]]] = {"onnx": onnx_bytes, "pt2": pt2_bytes}


def _forget_the_machine(proto: Any) -> None:
    """Drop torch's notes on nodes and values: stack traces with the names of this machine's folders."""
    graph = proto.graph
    for part in (*graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _without_uneven_max_pools(network: TrainedNetwork) -> nn.Module:
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.AdaptiveMaxPool2d) and isinstance(child.output_size, int):
                setattr(parent, name, WindowMax(child.output_size))
    return FromPixels(network)


@contextmanager
def _quiet(what: str) -> Iterator[None]:
    """Keep torch's advice about its own deprecations from the user; a failure is told in its own first line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except NasError:
        raise
    except Exception as error:
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        line = next((line for line in str(cause).splitlines() if line.strip()), "")
        raise RunError(f"torch cannot write this network as {what}: {type(cause).__name__}: {line[:300]}") from error


def _pixels(network: TrainedNetwork, count: int) -> Tensor:
    """`count` images of soft blobs, the same every time."""
    generator = torch.Generator().manual_seed(count)
    blobs = torch.rand(count, network.channels, 4, 4, generator=generator) * 255
    size = (network.input_size, network.input_size)
    return functional.interpolate(blobs, size, mode="bilinear", align_corners=False).to(torch.uint8)


def _largest_difference(network: TrainedNetwork, run: Run, name: str) -> float:
    """The largest difference in logits between the file, as `run` runs it, and the network.

    Raises:
        RunError: it is more than rounding explains.
    """
    largest = 0.0
    for count in CHECKED:
        pixels = _pixels(network, count)
        with torch.inference_mode():
            expected, found = FromPixels(network)(pixels), run(pixels)
        same_shape = found.shape == expected.shape
        difference = (found - expected).abs().max().item() if same_shape else float("inf")
        if not difference <= TOLERANCE * expected.abs().max().item():
            raise RunError(
                f"the {name} file's logits differ from the network's by {difference:.3g} (largest logit "
                f"{expected.abs().max().item():.3g}, batch of {count}); nothing was written"
            )
        largest = max(largest, difference)
    return largest
