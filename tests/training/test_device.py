"""Which device is taken, and what is said of one that is not there."""

from __future__ import annotations

import pytest
import torch

from nas.errors import NasError
from nas.training.device import describe_device, fast_bfloat16, pick_device, versions


@pytest.fixture
def cuda_devices(monkeypatch: pytest.MonkeyPatch):
    return lambda count: monkeypatch.setattr(torch.cuda, "device_count", lambda: count)


@pytest.mark.parametrize(("count", "taken"), [(0, "cpu"), (1, "cuda:0"), (4, "cuda:0")])
def test_auto_is_the_first_gpu_where_there_is_one(cuda_devices, count: int, taken: str) -> None:
    cuda_devices(count)
    assert pick_device("auto") == torch.device(taken)


def test_a_named_device_is_taken(cuda_devices) -> None:
    cuda_devices(2)
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("cuda") == torch.device("cuda:0")
    assert pick_device("cuda:1") == torch.device("cuda:1")


@pytest.mark.parametrize(
    ("name", "count", "words"),
    [
        ("cuda", 0, "torch sees no CUDA device here; use --device auto or cpu"),
        ("cuda:2", 2, r"this machine has 2 \(cuda:0 to cuda:1\)"),
        ("cuda:256", 1, "is not there"),
        ("cuda:99999999999999999999", 1, "is not known"),
        ("cuda:٣", 4, "is not known"),
        ("gpu", 1, "device 'gpu' is not known: use auto, cpu, cuda or cuda:N"),
        ("cuda:-1", 1, "is not known"),
        ("", 1, "is not known"),
    ],
)
def test_a_device_that_is_not_there_is_refused(cuda_devices, name: str, count: int, words: str) -> None:
    cuda_devices(count)
    with pytest.raises(NasError, match=words):
        pick_device(name)


def test_bfloat16_is_taken_where_the_cpu_has_instructions_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    for known, fast in (({"avx512_bf16": True}, True), ({"amx_bf16": True}, True), ({"avx2": True}, False)):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda known=known: known, raising=False)
        assert fast_bfloat16(cpu) is fast


def test_without_torchs_list_the_kernels_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert fast_bfloat16(torch.device("cpu")) in (True, False)
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError()))
    assert fast_bfloat16(torch.device("cpu")) is False


def test_a_device_and_the_versions_are_described() -> None:
    assert describe_device(torch.device("cpu")).startswith("cpu ")
    assert {"python", "nas", "torch", "torchvision", "optuna"} == set(versions())
