"""What was compiled, kept in files from one start to the next: a container by the key of all that it came of.

One folder, `compiled` in that of EDGECV_CACHE, which belongs to this user alone, holds at most
EDGECV_CACHE_BYTES. The entries that were used last are kept. Several processes may use it at once.

Nothing here fails a load: what cannot be kept is told to the log, and compiled again the next time.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias, Union

import msgspec

from edgecv import container, hashes, planfile, private
from edgecv.errors import EdgeCVError, InputError, ModelNotFoundError
from edgecv.settings import CACHE_BYTES, cache_folder

FOLDER = "compiled"

Part: TypeAlias = Union[str, int, float, bool, Sequence["Part"], Mapping[str, "Part"], None]  # noqa: UP007

_KEY = re.compile(r"[0-9a-f]{64}")


class Entry(msgspec.Struct, frozen=True):
    """A file in the cache. bytes: its size. used_ns: when it was last put or got, since the epoch."""

    key: str
    path: str
    bytes: int
    used_ns: int


class Contents(msgspec.Struct, frozen=True):
    """What an entry's container says of itself. problem: why it cannot be read, in place of the rest."""

    source: str = ""
    backend: str = ""
    kind: str = ""
    written_by: str = ""
    problem: str | None = None


class Cache:
    """The entries in a folder. limit: most bytes of all of them together."""

    def __init__(self, folder: str, limit: int) -> None:
        self.folder = folder
        self.limit = limit

    @classmethod
    def default(cls) -> "Cache | None":
        """The cache that the settings state; None where they state none.

        That is where EDGECV_CACHE_BYTES is 0, or this user has no folder for it. Raises InputError for an
        EDGECV_CACHE_BYTES that is no size.
        """
        folder, limit = cache_folder(FOLDER), CACHE_BYTES.get()
        return cls(folder, limit) if folder is not None and limit else None

    def problem(self) -> str | None:
        """Why the folder is not used; None where it is, or is not there yet."""
        try:
            return private.problem_of(self.folder, is_folder=True)
        except FileNotFoundError:
            return None
        except OSError as error:
            return _reason(self.folder, error)

    def get(self, key: str) -> str | None:
        """The path of an entry, which is noted as used; None where there is none that is believed.

        Another process may remove it at any time: what has been opened or mapped stays readable. Its contents
        are as safe as the folder, and not checked.
        """
        path = self._path(key)
        if not self._is_usable():
            return None
        try:
            problem = private.problem_of(path)
        except OSError:
            return None
        if problem is not None:
            private.warn(problem)
            return None
        try:
            private.touch(path)
        except OSError:
            # Gone by now, which whoever opens it will see, or on a disk that cannot be written.
            return path
        return path

    def put(self, key: str, data: bytes) -> str | None:
        """Keep an entry, whole or not at all, and remove those that were used longest ago as far as needed.

        Returns its path, or None where it cannot be kept.
        """
        path = self._path(key)
        if len(data) > self.limit:
            _log(f"{path}: {len(data)} bytes, over the {self.limit} of EDGECV_CACHE_BYTES: not kept")
            return None
        if not self._is_usable():
            return None
        try:
            private.write(path, data)
        except OSError as error:
            _log(f"not kept: {_reason(path, error)}")
            return None
        self._sweep()
        self._evict(path)
        return path

    def discard(self, key: str) -> None:
        """Remove an entry that turned out to be damaged."""
        if self._is_usable():
            self._remove(self._path(key))

    def entries(self) -> list[Entry]:
        """Every entry, the one that was used last first; none of a folder that is not used."""
        if not self._is_usable():
            return []
        try:
            found = list(self._scan())
        except OSError:
            return []
        return sorted(found, key=lambda entry: (-entry.used_ns, entry.key))

    def clear(self) -> tuple[int, int]:
        """Remove every entry. Returns how many they were, and their bytes."""
        removed = [entry.bytes for entry in self.entries() if self._remove(entry.path)]
        if self._is_usable():
            self._sweep()
        return len(removed), sum(removed)

    def _path(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise InputError(f"key: expected 64 hexadecimal digits, as key_of makes them, got {key[:80]!r}")
        return os.path.join(self.folder, key + container.SUFFIX)

    def _is_usable(self) -> bool:
        problem = self.problem()
        if problem is not None:
            private.warn(problem)
        return problem is None

    def _scan(self) -> Iterator[Entry]:
        with os.scandir(self.folder) as found:
            for file in found:
                key, suffix = os.path.splitext(file.name)
                if suffix != container.SUFFIX or not _KEY.fullmatch(key):
                    continue
                try:
                    status = file.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if stat.S_ISREG(status.st_mode):
                    yield Entry(key, file.path, status.st_size, status.st_mtime_ns)

    def _evict(self, kept: str) -> None:
        entries = self.entries()
        total = sum(entry.bytes for entry in entries)
        for entry in reversed(entries):
            if total <= self.limit:
                return
            if entry.path != kept:
                self._remove(entry.path)
                total -= entry.bytes

    def _sweep(self) -> None:
        try:
            private.sweep(self.folder)
        except OSError as error:
            _log(f"not swept: {_reason(self.folder, error)}")

    def _remove(self, path: str) -> bool:
        try:
            return private.remove(path)
        except OSError as error:
            _log(f"not removed: {_reason(path, error)}")
            return False


def key_of(parts: Mapping[str, Part]) -> str:
    """64 hexadecimal digits: sha256 of everything that what is compiled depends on.

    parts: by name; the order of names counts nowhere, that of a sequence does. Raises InputError for a value
    that JSON does not have, which could be mistaken for another.
    """
    try:
        text = msgspec.json.encode(_canonical(parts, "key"))
    except (OverflowError, UnicodeEncodeError) as error:
        raise InputError(f"key: expected whole numbers of 64 bits and text of Unicode: {error}") from error
    return hashes.digest(text)


def contents_of(entry: Entry) -> Contents | None:
    """What an entry holds, by its manifest; None where it was removed meanwhile."""
    try:
        found = container.read(entry.path)
    except ModelNotFoundError:
        return None
    except EdgeCVError as error:
        return Contents(problem=str(error))
    return Contents(found.about.get(planfile.SOURCE, ""), found.backend, found.kind, found.written_by)


def _canonical(value: Part, name: str) -> Part:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise InputError(f"{name}: expected names, got {list(value)!r}")
        return {key: _canonical(value[key], f"{name}.{key}") for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [_canonical(item, name) for item in value]
    # JSON has no infinity, and msgspec writes it as it writes None.
    is_plain = value is None or type(value) in (str, int, bool)
    if not is_plain and not (type(value) is float and abs(value) < float("inf")):
        raise InputError(f"{name}: expected text, a finite number, or a sequence of them, got {value!r}")
    return value


def _reason(path: str, error: OSError) -> str:
    return f"{path}: {error.strerror or error}"


def _log(message: str) -> None:
    # Long to import for what mostly is not said.
    import logging

    logging.getLogger("edgecv").info(message)
