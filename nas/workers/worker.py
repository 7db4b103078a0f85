"""What a worker process does: wait for a trial, train it, tell each epoch's score."""

from __future__ import annotations

import gc
import os
import pickle
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from nas.evaluate import TrainingFailed, describe
from nas.training.broken_device import is_broken
from nas.training.memory import give_back, keep_memory
from nas.training.score import Diverged, Stopped
from nas.training.trial import OutOfMemory
from nas.weights import plain_state
from nas.workers.messages import (
    Alive,
    DeviceMemory,
    Drop,
    Ended,
    GoOn,
    Job,
    NotReady,
    Order,
    Ready,
    Report,
    Scored,
    SendWeights,
    Stop,
    Train,
    Weights,
)
from searchspace import Architecture
from searchspace.blocks import register_block

SIGN = 1.0  # seconds between signs of life, at least


def work(connection: Connection) -> None:
    """Serve the process at the other end of the pipe until it is gone, or the device is broken."""
    try:
        job: Job = pickle.loads(connection.recv_bytes())
        evaluate = _prepare(job)
        memory = device_memory(torch.device(job.device))
    except Exception as error:
        connection.send(NotReady(describe(error)))
        return
    gc.freeze()  # what was imported stays: it need not be looked through between trials
    connection.send(Ready(memory))
    _Worker(connection, evaluate, torch.device(job.device)).run()


def _prepare(job: Job) -> Callable[..., Any]:
    torch.set_num_threads(job.threads)
    keep_memory()
    for family in job.families:
        register_block(family)
    if job.dataset is None:
        return job.evaluate
    return partial(job.evaluate, dataset=job.dataset.open().to(job.device))


class _Worker:
    """Trains in the process's main thread; another thread hears the parent, so that a long step hides no order."""

    def __init__(self, connection: Connection, evaluate: Callable[..., Any], device: torch.device) -> None:
        self.connection = connection
        self.evaluate = evaluate
        self.device = device
        self.orders: queue.SimpleQueue[Order] = queue.SimpleQueue()
        self.over = 0  # trials up to this one are to end
        self.signed = 0.0
        self.kept: tuple[int, nn.Module | None] = (0, None)
        threading.Thread(target=self._listen, daemon=True, name="nas-orders").start()

    def _listen(self) -> None:
        try:
            while True:
                order: Order = self.connection.recv()
                if isinstance(order, Stop | Drop):
                    self.over = max(self.over, order.trial)
                self.orders.put(order)
        except (EOFError, OSError):  # the parent is gone
            os._exit(1)

    def run(self) -> None:
        broken = False
        while not broken:
            order = self.orders.get()
            if isinstance(order, Train):
                broken = self._train(order)
            elif isinstance(order, SendWeights):
                trial, network = self.kept
                wanted = network if trial == order.trial else None
                self._send(Weights(order.trial, None if wanted is None else save(plain_state(wanted))))

    def _train(self, order: Train) -> bool:
        """Train to whatever end; whether that has broken the device for this process."""
        self._send(Alive(order.trial))
        self.kept = (order.trial, None)
        _free(self.device)
        end = Ended(order.trial)
        try:
            self._epochs(order)
        except (Diverged, OutOfMemory, Stopped) as error:
            end = replace(end, error=type(error)(*error.args))  # without the frames, which hold tensors
        except Exception as error:
            end = replace(end, error=TrainingFailed(describe(error)), broken=is_broken(error))
        self._send(end)
        return end.broken

    def _epochs(self, order: Train) -> None:
        architecture = Architecture.from_json(order.architecture)
        for score in self.evaluate(architecture, seed=order.seed, stop=partial(self._stop, order.trial)):
            self.kept = (order.trial, score.network)
            self._send(Scored(order.trial, replace(score, network=None), device_memory(self.device)))
            if not self._wanted(order.trial):
                return

    def _stop(self, trial: int) -> bool:
        """What the training asks before every step: so an answer is also a sign of life."""
        now = time.monotonic()
        if now - self.signed >= SIGN:
            self._send(Alive(trial))
        return self.over >= trial

    def _wanted(self, trial: int) -> bool:
        """Wait for the word: another epoch of this trial, or none."""
        while True:
            order = self.orders.get()
            if isinstance(order, GoOn | Drop) and order.trial == trial:
                return isinstance(order, GoOn)

    def _send(self, report: Report) -> None:
        self.signed = time.monotonic()
        self.connection.send(report)


def device_memory(device: torch.device) -> DeviceMemory | None:
    """What a CUDA device holds now; None for the CPU."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemory(free, total, torch.cuda.max_memory_reserved(device))


def _free(device: torch.device) -> None:
    """Give back what the trial before held, so that other workers have it."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    give_back()
