"""Which build of edgecv this is: what is compiled with one is not believed by another."""

from __future__ import annotations

import os
from functools import cache

from edgecv.version import VERSION

_ROOT = os.path.dirname(os.path.abspath(__file__))
# What decides what a network is compiled to, and how its files are read.
_FOLDERS = ("", "backends", "engine", "graph", "heads", "importers", "lookup")


@cache
def fingerprint() -> str:
    """Of the version, and of size and time of change of every file of code that makes plans.

    An installation, or an edit where it is installed from a checkout, changes it.
    """
    import zlib

    found = [VERSION]
    for folder in _FOLDERS:
        for path, _, names in os.walk(os.path.join(_ROOT, folder)):
            for name in names:
                if name.endswith((".py", ".so")):
                    stat = os.stat(os.path.join(path, name))
                    found.append(f"{path[len(_ROOT) :]}/{name} {stat.st_size} {stat.st_mtime_ns}")
            if not folder:
                break
    return f"{zlib.crc32(os.linesep.join(sorted(found)).encode()):08x}"
