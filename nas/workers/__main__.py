"""A worker's first steps, before torch is imported: `python -P -m nas.workers DESCRIPTOR PARENT CPUS`."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent ends, however that ends; elsewhere than on Linux the pipe's
    end says so (`nas.workers.worker`).
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before
        os._exit(1)


def main(descriptor: str, parent: str, cpus: str) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent hears them, and decides
    die_with(int(parent))
    os.dup2(2, 1)  # standard output carries the search's result alone
    if cpus:
        os.sched_setaffinity(0, [int(cpu) for cpu in cpus.split(",")])  # threads that torch starts inherit it
    from multiprocessing.connection import Connection

    from nas.workers.worker import work

    work(Connection(int(descriptor)))
    os._exit(0)  # nothing is left to tidy up, and a broken device could hang on it


if __name__ == "__main__":
    main(*sys.argv[1:])
