"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009) through torchvision, downloaded on first use."""

from __future__ import annotations

import contextlib
import http.client
import pickle
import socket
import sys
import tarfile
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from nas.errors import DataError
from nas.training.datasets.source import ArrayExamples, Request, Source

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

_SECONDS_WITHOUT_A_BYTE = 30.0


def read_cifar10(request: Request) -> Source:
    """CIFAR-10: 50,000 training and 10,000 test images, 3x32x32, 10 classes."""
    return _read("CIFAR10", request)


def read_cifar100(request: Request) -> Source:
    """CIFAR-100: 50,000 training and 10,000 test images, 3x32x32, 100 (fine) classes."""
    return _read("CIFAR100", request)


def _read(kind: str, request: Request) -> Source:
    part = _open(kind, request.data_dir, train=True, download=request.download)
    return Source(tuple(part.classes), _examples(part), test=partial(_read_test, kind, request))


def _read_test(kind: str, request: Request) -> ArrayExamples:
    return _examples(_open(kind, request.data_dir, train=False, download=request.download))


def _examples(part: CIFAR10) -> ArrayExamples:
    return ArrayExamples(part.data, np.asarray(part.targets, dtype=np.int64))


def _open(kind: str, data_dir: Path, *, train: bool, download: bool) -> CIFAR10:
    from torchvision import datasets
    from torchvision.datasets.utils import check_integrity

    base: type[CIFAR10] = getattr(datasets, kind)
    # torchvision checks the files of both splits; this leaves it the one that is wanted.
    part: type[CIFAR10] = type(kind, (base,), {"test_list" if train else "train_list": []})
    with _quiet():
        try:
            return part(data_dir, train=train, download=False)
        except RuntimeError:  # not there yet, or with wrong checksums
            archive = data_dir / base.filename
            present = archive.exists()
            whole = present and check_integrity(archive, base.tgz_md5)
        try:
            return part(data_dir, train=train, download=download or whole)
        except (
            OSError,
            RuntimeError,
            EOFError,
            tarfile.TarError,
            pickle.PickleError,
            http.client.HTTPException,
        ) as error:
            reason = (
                " ".join(str(getattr(error, "reason", error)).split()) if download else "downloading is switched off"
            )
            raise DataError(_advice(kind, base, archive, present and not whole, reason)) from error


def _advice(kind: str, base: type[CIFAR10], archive: Path, damaged: bool, reason: str) -> str:
    offline = "`--dataset digits` works offline."
    if damaged:
        return f"{archive} is damaged: its checksum is not the published one.\nReplace it by {base.url}, or: {offline}"
    return (
        f"{kind} is not in {archive.parent} and could not be fetched: {reason}.\n"
        f"Put {base.filename} (from {base.url}) into {archive.parent}, or: {offline}"
    )


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep stdout for results, give up on a silent network, pass over numpy's remark on the pickles of 2009."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SECONDS_WITHOUT_A_BYTE)
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.VisibleDeprecationWarning)
            yield
    finally:
        socket.setdefaulttimeout(before)
