"""sha256 of bytes and of files; those of files are remembered, so that a large one is not read at each start.

A remembered hash is believed for as long as the file at that path has the same size, inode, time of its last
change (mtime), time of its inode's last change (ctime), and the same bytes in `SAMPLES` places all over it.
The samples are there for images of read-only file systems, which may be built with the same times and inodes
whatever their files hold, and for files that are written through a memory map. A file of no more than all
samples is read whole. A file that was changed less than `SETTLED_NS` ago is not remembered, since a second
change within one tick of the file system's clock would show in none of the times.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import os
import stat
import time
from importlib import import_module
from typing import Any

import msgspec

from edgecv import private
from edgecv.errors import InputError
from edgecv.settings import cache_folder

FILE_NAME = "hashes.json"
MAX_REMEMBERED = 1024
MAX_BYTES = 1 << 20
# The coarsest clock of a file system in use is FAT's, of 2 seconds.
SETTLED_NS = 3_000_000_000

SAMPLES = 32
SAMPLE_BYTES = 4096

_BLOCK = 1 << 20


class _Remembered(msgspec.Struct, frozen=True, array_like=True):
    """facts: size, mtime_ns, ctime_ns, inode. sample: sha256 of the samples."""

    facts: tuple[int, int, int, int]
    sample: str
    digest: str


def digest(data: bytes) -> str:
    """sha256 of little data, 64 hexadecimal digits."""
    return str(_lean_sha256(data).hexdigest())


def digest_of(path: str | os.PathLike[str]) -> str:
    """sha256 of a file's bytes, 64 hexadecimal digits, remembered as this module says.

    Raises OSError for a file that cannot be read, InputError for what is none.
    """
    place = os.path.realpath(path)
    status = os.stat(place)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{os.fspath(path)}: expected a file, got a folder or a device")
    # JSON is UTF-8, and names of files need not be.
    name = place.encode("unicode_escape").decode("ascii")
    known = _read().get(name)
    sample = _sample(place, status.st_size)
    if known is not None and known.facts == _facts(status) and known.sample == sample:
        return known.digest
    found, before, after = _hash(place)
    is_settled = abs(time.time_ns() - after[2]) >= SETTLED_NS
    if before == after == _facts(status) and sample == _sample(place, after[0]) and is_settled:
        _remember(name, _Remembered(after, sample, found))
    return found


def _facts(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _sample(path: str, size: int) -> str:
    """Of bytes all over a file, the first and the last among them; of a small file, of all."""
    with open(path, "rb", buffering=0) as file:
        descriptor = file.fileno()
        if size <= SAMPLES * SAMPLE_BYTES:
            return digest(b"all" + os.pread(descriptor, size, 0))
        last = size - SAMPLE_BYTES
        places = (last * i // (SAMPLES - 1) for i in range(SAMPLES))
        return digest(b"".join(os.pread(descriptor, SAMPLE_BYTES, at) for at in places))


def _hash(path: str) -> tuple[str, tuple[int, int, int, int], tuple[int, int, int, int]]:
    """The hash, and the file's facts before and after it was read."""
    # OpenSSL's is several times as fast, and long to load for less than a file.
    import hashlib

    found = hashlib.sha256()
    with open(path, "rb", buffering=0) as file:
        before = _facts(os.fstat(file.fileno()))
        while block := file.read(_BLOCK):
            found.update(block)
        return found.hexdigest(), before, _facts(os.fstat(file.fileno()))


def _lean_sha256(data: bytes) -> Any:
    """Python's own: hashlib loads OpenSSL, which takes longer than all else. The standard library's `random`
    does the same."""
    for module in ("_sha2", "_sha256"):
        try:
            return import_module(module).sha256(data)
        except ImportError:
            continue
    import hashlib

    return hashlib.sha256(data)


def _read() -> dict[str, _Remembered]:
    """The remembered hashes; none where their file is missing, damaged or not believed."""
    path = cache_folder(FILE_NAME)
    if path is None:
        return {}
    try:
        data = private.read(path, most=MAX_BYTES)
        return {} if data is None else msgspec.json.decode(data, type=dict[str, _Remembered])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _remember(name: str, known: _Remembered) -> None:
    """Keep one more hash, and of all the latest; a folder that cannot be written only costs time."""
    path = cache_folder(FILE_NAME)
    if path is None:
        return
    kept = _read()
    # Put last also where it is there already, with other facts.
    kept.pop(name, None)
    kept[name] = known
    latest = dict(list(kept.items())[-MAX_REMEMBERED:])
    try:
        private.write(path, msgspec.json.encode(latest))
        private.sweep(os.path.dirname(path))
    except OSError:
        return
