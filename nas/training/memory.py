"""Memory that a process keeps between the steps of a training, in place of asking the system for it again."""

from __future__ import annotations

import ctypes
import os
import sys

MMAP_MAX, TRIM_THRESHOLD, TOP_PAD = -4, -1, -2  # mallopt's names of them, malloc.h
NEVER = -1  # as an unsigned number of bytes: more than any process has
HUGE_PAGES = 14  # madvise's MADV_HUGEPAGE
HUGE_PAGE = 2 << 20
KEPT = 256 << 20
RESERVED_SHARE = 8  # of the machine's memory an eighth is laid out in huge pages, when it is first used


def keep_memory() -> bool:
    """Tell glibc to keep what is freed, in huge pages where the system gives them; whether it was told.

    By default glibc returns every activation above 32 MB to the kernel, which fills it with zeros again in the next
    step: 88,000 page faults in a step of a small MBConv network, none after this call. A process that called it does
    not become smaller again, so it is for programs, not for libraries: the command line and workers call it. Elsewhere
    than on Linux with glibc nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version") or not hasattr(library, "mallopt"):
        return False
    done = library.mallopt(MMAP_MAX, 0) and library.mallopt(TRIM_THRESHOLD, NEVER) and library.mallopt(TOP_PAD, KEPT)
    if done:
        _prefer_huge_pages(library)
    return bool(done)


def _prefer_huge_pages(library: ctypes.CDLL) -> None:
    """Lay the heap's next bytes out in huge pages: take them, say so, and give them back without having used any."""
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.restype, library.free.argtypes = None, [ctypes.c_void_p]
    library.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // RESERVED_SHARE
    start = library.malloc(size)
    if start:  # not where a limit on the address space forbids it
        first = -(-start // HUGE_PAGE) * HUGE_PAGE
        library.madvise(first, start + size - first, HUGE_PAGES)
        library.free(start)
