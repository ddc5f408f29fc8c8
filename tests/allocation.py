"""What the C library has handed out, for tests of working memory."""

from __future__ import annotations

import ctypes
import os

import pytest


class MallInfo(ctypes.Structure):
    """struct mallinfo2 of glibc 2.33."""

    _fields_ = (
        ("arena", ctypes.c_size_t),
        ("ordblks", ctypes.c_size_t),
        ("smblks", ctypes.c_size_t),
        ("hblks", ctypes.c_size_t),
        ("hblkhd", ctypes.c_size_t),
        ("usmblks", ctypes.c_size_t),
        ("fsmblks", ctypes.c_size_t),
        ("uordblks", ctypes.c_size_t),
        ("fordblks", ctypes.c_size_t),
        ("keepcost", ctypes.c_size_t),
    )


def allocated_bytes() -> int:
    """Bytes that malloc has handed out. Skips the test where that is not known."""
    if "libasan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("a sanitizer hands out memory by itself")
    found = handed_out_bytes()
    if found is None:
        pytest.skip("this C library has no mallinfo2")
    return found


def handed_out_bytes() -> int | None:
    """Bytes that malloc has handed out, on every thread; None where the C library does not say."""
    mallinfo2 = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if mallinfo2 is None:
        return None
    mallinfo2.restype = MallInfo
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)
