"""The one container of edgecv, `.ecv`: a zip of stored members, the first of which is a manifest.

`manifest.json` says what kind of thing the others are, for which backend, and the size and CRC-32 of each.
All other bytes of the zip follow from that: `layout` makes them, the writer puts the members between them,
and the reader compares them with its file. So it takes exactly what the writer makes, and parses no zip; it
needs no more memory than the file has, and time in proportion. Each member starts at a multiple of 64 bytes,
so that a large one can be mapped, by padding in the zip's extra field (0xD935, as Android's zipalign writes
it). Structure of a zip: PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12 and 4.3.16.

A CRC-32 tells damage: always where all changed bits lie within 32, else but for one time in 2^32. It does not
tell forgery, nor would a longer sum, which whoever changes a member can change too: what a member says is
examined whatever its sum.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import io
import mmap
import os
import stat
import struct
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
import numpy as np

from edgecv.errors import ChecksumError, ModelFileError, ModelNotFoundError
from edgecv.version import VERSION

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".ecv"
KINDS = ("plan", "verdict", "anomaly", "bundle")
MANIFEST = "manifest.json"
FORMAT = 3
_START = f'{{\n "format": {FORMAT},'.encode()
# A cache line, and the widest vector.
ALIGNMENT = 64
MAX_MEMBERS = 128
MAX_MANIFEST_BYTES = 1 << 20

Bytes: TypeAlias = "NDArray[np.uint8]"

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789._-"
_LOCAL, _CENTRAL = struct.Struct("<4s5H3I2H"), struct.Struct("<4s6H3I5H2I")
_EXTRA, _END = struct.Struct("<3H"), struct.Struct("<4s4H2IH")
# Zip 1.0, no flags, stored, and the first day that a zip can state: the same bytes for the same contents.
_FIELDS = (10, 0, 0, 0, 1 << 5 | 1)


class Member(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Size and CRC-32 of a member."""

    bytes: int
    crc32: int


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """about: what the kind has to say beforehand, such as the instruction set of a plan."""

    format: int
    kind: str
    backend: str
    written_by: str
    about: dict[str, str]
    members: dict[str, Member]


class Container:
    """An opened container. origin: for messages. names: of its members, in order.

    kind, backend, about, written_by: as its manifest says; kind alone is checked. backend: that it is for,
    empty where it belongs to none. `mapped` and `copied` check the member's CRC-32.
    """

    def __init__(self, data: memoryview, origin: str) -> None:
        text = _manifest_of(data, origin)
        manifest = _decoded(text, origin)
        self.origin, self.names = origin, tuple(manifest.members)
        self.kind, self.backend, self.written_by = manifest.kind, manifest.backend, manifest.written_by
        self.about: Mapping[str, str] = manifest.about
        self._data, self._spans = data, dict[str, tuple[int, int, int]]()
        members, at = {MANIFEST: _member(text), **manifest.members}, 0
        headers, tail = layout(members, origin)
        for (name, member), header in zip(members.items(), headers, strict=True):
            start, at = at + len(header), at + len(header) + member.bytes
            if at > len(data) or bytes(data[start - len(header) : start]) != header:
                raise _foreign(origin, f"{name} and its header are not what its manifest states")
            self._spans[name] = start, at, member.crc32
        if len(data) != at + len(tail) or bytes(data[at:]) != tail:
            raise _foreign(origin, "its directory is not what its manifest states")

    def __contains__(self, name: str) -> bool:
        return name in self.names

    def expect(self, kind: str) -> None:
        """Raise ModelFileError unless it is of this kind."""
        if self.kind != kind:
            raise ModelFileError(f"{self.origin}: expected a container of kind {kind}, got {self.kind}")

    def mapped(self, name: str) -> Bytes:
        """A member where it lies, read-only, uint8 (n,). It shows what the file becomes.

        The file stays mapped for as long as the array lives.
        """
        return self._checked(name, self._lying(name))

    def copied(self, name: str, *, most: int | None = None) -> Bytes:
        """A copy of a member, uint8 (n,), 64-byte aligned, of at most so many bytes; the copy is checked.

        What is checked further, and relied upon, must not change with the file.
        """
        array = self._lying(name)
        if most is not None and len(array) > most:
            raise ModelFileError(
                f"{self.origin}: its {name} takes {len(array)} bytes, expected at most {most}: write it again"
            )
        room = np.empty(len(array) + ALIGNMENT, np.uint8)
        copy = room[-room.ctypes.data % ALIGNMENT :][: len(array)]
        copy[:] = array
        return self._checked(name, copy)

    def _lying(self, name: str) -> Bytes:
        if name not in self:
            raise ModelFileError(
                f"{self.origin}: expected a member {name}, got {', '.join(self.names) or 'none'}; write it "
                "again"
            )
        start, end, _ = self._spans[name]
        return np.frombuffer(self._data[start:end], np.uint8)

    def _checked(self, name: str, data: Bytes) -> Bytes:
        expected, found = self._spans[name][2], zlib.crc32(data.data)
        if found != expected:
            raise ChecksumError(
                f"{self.origin}: {name}: expected CRC-32 {expected:08x}, got {found:08x}: a damaged file; "
                "get it again, or write it again"
            )
        return data


def layout(members: Mapping[str, Member], origin: str) -> tuple[list[bytes], bytes]:
    """The header that stands before each member, and what stands after the last one.

    members: all of them in their order, the manifest first. origin: for messages. Raises ModelFileError where
    they take 4 GB or more.
    """
    headers, directory, at, count = [], b"", 0, len(members)
    try:
        for name, member in members.items():
            label, sums = name.encode(), (member.crc32, member.bytes, member.bytes)
            padding = bytes(-(at + _LOCAL.size + len(label) + _EXTRA.size) % ALIGNMENT)
            extra = _EXTRA.pack(0xD935, 2 + len(padding), ALIGNMENT) + padding
            headers.append(_LOCAL.pack(b"PK\3\4", *_FIELDS, *sums, len(label), len(extra)) + label + extra)
            directory += _CENTRAL.pack(b"PK\1\2", 10, *_FIELDS, *sums, len(label), 0, 0, 0, 0, 0, at) + label
            at += len(headers[-1]) + member.bytes
        return headers, directory + _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), at, 0)
    except struct.error:
        raise ModelFileError(f"{origin}: its members do not fit the 32 bits in which a zip counts") from None


def to_bytes(
    kind: str,
    members: "Mapping[str, bytes | NDArray[Any]]",
    about: Mapping[str, str] | None = None,
    backend: str = "",
) -> bytes:
    """A container of these members, in their order; the same bytes for the same contents.

    members: bytes or C-contiguous arrays, by names as `is_name` has them. backend: that it is for. Raises
    ModelFileError for other names, and where they take 4 GB or more.
    """
    contents = {name: np.frombuffer(data, np.uint8).data for name, data in members.items()}
    listed = {name: _member(data) for name, data in contents.items()}
    manifest = _Manifest(FORMAT, kind, backend, f"edgecv {VERSION}", dict(about or {}), listed)
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    # What no reader would take is not written.
    _decoded(text, kind)
    headers, tail = layout({MANIFEST: _member(text), **listed}, kind)
    parts: list[Any] = []
    for header, data in zip(headers, (text, *contents.values()), strict=True):
        parts += (header, data)
    return b"".join((*parts, tail))


def is_name(name: str) -> bool:
    """Whether a member may be called so: at most 64 lower case letters, digits, '.', '_' and '-'."""
    return name[:1].isalnum() and len(name) <= 64 and not name.strip(_LETTERS) and name != MANIFEST


def is_container(source: str | os.PathLike[str] | bytes) -> bool:
    """Whether a file, or its bytes, begin as a container does."""
    if not isinstance(source, bytes):
        try:
            with _file(source) as file:
                source = file.read(ALIGNMENT)
        except (OSError, ValueError):
            return False
    return source[:4] == b"PK\3\4" and source[_LOCAL.size :].startswith(MANIFEST.encode())


def read(source: str | os.PathLike[str] | bytes) -> Container:
    """The container in a file, which is mapped, or in bytes.

    Raises ModelNotFoundError, and ModelFileError for a file that is damaged or is none.
    """
    if isinstance(source, bytes):
        return Container(memoryview(source), f"container of {len(source)} bytes")
    try:
        with _file(source) as file:
            data = mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
    except FileNotFoundError:
        raise ModelNotFoundError(f"{source}: no such file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ModelFileError(f"{source}: cannot be read: {reason}") from error
    return Container(memoryview(data), str(source))


def _file(path: str | os.PathLike[str]) -> io.FileIO:
    # A pipe would block before it could be looked at.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise OSError("expected a file, got a folder or a device")
    return io.FileIO(path)


def _manifest_of(data: memoryview, origin: str) -> memoryview:
    """The text of the manifest, which starts at a fixed place; its header states its size."""
    if not is_container(bytes(data[:ALIGNMENT])):
        raise _foreign(origin, f"it does not begin with a manifest, and has {len(data)} bytes")
    return data[ALIGNMENT : ALIGNMENT + int.from_bytes(data[22:26], "little")]


def _decoded(text: bytes | memoryview, origin: str) -> _Manifest:
    if len(text) > MAX_MANIFEST_BYTES:
        raise _foreign(origin, f"its manifest takes {len(text)} bytes")
    if text[: len(_START)] != _START:
        raise ModelFileError(
            f"{origin}: expected format {FORMAT} of a container, got another: written by another version of "
            "edgecv, or damaged; write it again with this one"
        )
    try:
        manifest = msgspec.json.decode(text, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _foreign(origin, f"its manifest: {error}") from error
    if manifest.kind not in KINDS:
        raise _foreign(origin, f"its kind is {manifest.kind!r}, not one of {', '.join(KINDS)}")
    wrong = [name for name in manifest.members if not is_name(name)]
    if wrong or len(manifest.members) > MAX_MEMBERS:
        raise _foreign(origin, f"it has {len(manifest.members)} members, and {wrong[:3]} are no names of one")
    return manifest


def _member(data: bytes | memoryview) -> Member:
    return Member(len(data), zlib.crc32(data))


def _foreign(origin: str, problem: str) -> ModelFileError:
    # A problem may quote the file.
    return ModelFileError(
        f"{origin}: expected a container of edgecv: {' '.join(problem.split())[:400]}: a damaged file, or "
        "not one of edgecv's; get it again, or write it again"
    )
