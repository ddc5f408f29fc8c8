"""The one container of edgecv, `.ecv`: a zip of stored members, the first of which is a manifest.

`manifest.json` says what kind of thing the others are, for what, and their sizes. Members are stored, never
compressed, so that a large one can be mapped into memory; it starts at a multiple of 64 bytes, by padding in
the zip's extra field (0xD935, as Android's zipalign writes it). Structure of a zip: PKWARE's APPNOTE.TXT,
sections 4.3.7, 4.3.12 and 4.3.16.

The checksum of a member is the CRC-32 that the zip has of it. It tells damage: always where all changed bits
lie within 32, else but for one time in 2^32. It does not tell forgery, and nor would a longer sum in the same
file, which whoever changes a member can change too: what a member says is examined whatever its sum. So the
hashes of hashlib, which load OpenSSL before a model's first result, would buy nothing.

Files come from others. The reader takes exactly what the writer makes: each byte belongs to one member or to
the directory, names are no paths, and no size is believed that the file itself does not have. So it needs no
more memory than the file has, and time in proportion.
"""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

import mmap
import os
import re
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
MANIFEST = "manifest.json"
FORMAT = 2
KINDS = ("plan", "anomaly", "bundle")
# A cache line, and the widest vector.
ALIGNMENT = 64

MAX_MEMBERS = 64
MAX_MANIFEST_BYTES = 1 << 20
# Without its 64-bit extension a zip counts in 32 bits.
MAX_BYTES = (1 << 32) - 1

Bytes: TypeAlias = "NDArray[np.uint8]"
# Of a member's bytes: the first, the one after the last, and their CRC-32.
_Span: TypeAlias = tuple[int, int, int]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_PADDING_ID = 0xD935
# 1980-01-01, the first day that a zip can state: what is written depends on the contents alone.
_DATE = 1 << 5 | 1
_STORED = 10


class _Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """about: what the kind has to say beforehand, such as the instruction set of a plan. members: bytes of
    each."""

    format: int
    kind: str
    written_by: str
    about: dict[str, str]
    members: dict[str, int]


class _Format(msgspec.Struct, frozen=True):
    """What every version of a manifest says."""

    format: int


class Container:
    """An opened container. origin: for messages. kind, about: as its manifest says; about is not checked.

    `mapped` and `copied` check the member's CRC-32.
    """

    def __init__(self, data: memoryview, origin: str) -> None:
        self.origin = origin
        self._data = data
        self._spans = _read_directory(data, origin)
        manifest = _read_manifest(data, self._spans, origin)
        self.kind = manifest.kind
        self.about: Mapping[str, str] = manifest.about
        self.written_by = manifest.written_by
        self._members = manifest.members

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def expect(self, kind: str) -> None:
        """Raise ModelFileError unless it is of this kind."""
        if self.kind != kind:
            raise ModelFileError(f"{self.origin}: expected a container of kind {kind}, got {self.kind}")

    def mapped(self, name: str) -> Bytes:
        """A member where it lies, read-only, uint8 (n,). It shows what the file becomes.

        The file stays mapped for as long as the array lives.
        """
        start, end, crc = self._span(name)
        self._check(name, self._data[start:end], crc)
        return np.frombuffer(self._data[start:end], np.uint8)

    def copied(self, name: str, *, most: int | None = None) -> Bytes:
        """A copy of a member, uint8 (n,), 64-byte aligned, of at most so many bytes; the copy is checked.

        What is checked further, and relied upon, must not change with the file.
        """
        start, end, crc = self._span(name)
        size = end - start
        if most is not None and size > most:
            raise ModelFileError(
                f"{self.origin}: its {name} takes {size} bytes, expected at most {most}: a damaged file, or "
                "not one of edgecv's; write it again"
            )
        room = np.empty(size + ALIGNMENT, np.uint8)
        first = -room.ctypes.data % ALIGNMENT
        copy = room[first : first + size]
        copy[:] = np.frombuffer(self._data[start:end], np.uint8)
        self._check(name, copy.data, crc)
        return copy

    def _span(self, name: str) -> _Span:
        if name not in self._members:
            raise ModelFileError(
                f"{self.origin}: a container of kind {self.kind} has a member {name}, and this one has "
                f"{', '.join(self._members) or 'none'}; write it again"
            )
        return self._spans[name]

    def _check(self, name: str, data: memoryview, crc: int) -> None:
        found = zlib.crc32(data)
        if found != crc:
            raise ChecksumError(
                f"{self.origin}: {name}: expected CRC-32 {crc:08x}, got {found:08x}: a damaged file; get it "
                "again, or write it again"
            )


def to_bytes(
    kind: str, members: "Mapping[str, bytes | NDArray[Any]]", about: Mapping[str, str] | None = None
) -> bytes:
    """A container of these members, in their order; the same bytes for the same contents.

    members: names of lower case letters, digits, '.', '_' and '-'. Raises ModelFileError where it would
    take 4 GB or more.
    """
    contents = {name: data if isinstance(data, bytes) else data.tobytes() for name, data in members.items()}
    manifest = _Manifest(
        format=FORMAT,
        kind=kind,
        written_by=f"edgecv {VERSION}",
        about=dict(about or {}),
        members={name: len(data) for name, data in contents.items()},
    )
    text = msgspec.json.format(msgspec.json.encode(manifest), indent=1)
    body, directory = bytearray(), bytearray()
    for name, data in {MANIFEST: text, **contents}.items():
        label = name.encode()
        at = len(body)
        padding = -(at + _LOCAL.size + len(label) + 6) % ALIGNMENT
        extra = struct.pack("<3H", _PADDING_ID, 2 + padding, ALIGNMENT) + bytes(padding)
        if at + len(data) + len(directory) > MAX_BYTES - (1 << 16):
            raise ModelFileError(f"{kind}: it would take 4 GB or more, which a container cannot hold")
        sizes = (zlib.crc32(data), len(data), len(data))
        body += _LOCAL.pack(b"PK\3\4", _STORED, 0, 0, 0, _DATE, *sizes, len(label), len(extra))
        body += label + extra + data
        directory += _CENTRAL.pack(
            b"PK\1\2", _STORED, _STORED, 0, 0, 0, _DATE, *sizes, len(label), 0, 0, 0, 0, 0, at
        )
        directory += label
    count = len(contents) + 1
    end = _END.pack(b"PK\5\6", 0, 0, count, count, len(directory), len(body), 0)
    return bytes(body + directory + end)


def is_container(source: str | os.PathLike[str] | bytes) -> bool:
    """Whether a file, or its bytes, begin as a container does."""
    need = _LOCAL.size + len(MANIFEST)
    if isinstance(source, bytes):
        start = source[:need]
    else:
        try:
            if not stat.S_ISREG(os.stat(source).st_mode):
                return False
            with open(source, "rb", buffering=0) as file:
                start = file.read(need)
        except (OSError, ValueError):
            return False
    return start[:4] == b"PK\3\4" and start[_LOCAL.size :] == MANIFEST.encode()


def read(source: str | os.PathLike[str] | bytes) -> Container:
    """The container in a file, which is mapped, or in bytes.

    Raises ModelNotFoundError, and ModelFileError for a file that is damaged or is none.
    """
    if isinstance(source, bytes):
        return Container(memoryview(source), f"container of {len(source)} bytes")
    try:
        # A pipe would block before it could be looked at.
        if not stat.S_ISREG(os.stat(source).st_mode):
            raise ModelFileError(f"{source}: expected a file, got a folder or a device")
        handle = os.open(source, os.O_RDONLY)
        try:
            size = os.fstat(handle).st_size
            if not 0 < size <= MAX_BYTES:
                raise _foreign(str(source), f"it has {size} bytes")
            data = mmap.mmap(handle, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)
        finally:
            os.close(handle)
    except FileNotFoundError:
        raise ModelNotFoundError(f"{source}: no such file") from None
    except (OSError, ValueError) as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(
            f"{source}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    return Container(memoryview(data), str(source))


def _read_directory(data: memoryview, origin: str) -> dict[str, _Span]:
    """Where each member's bytes lie, in their order in the file, and their CRC-32."""
    size = len(data)
    if size < _END.size:
        raise _foreign(origin, f"it has {size} bytes")
    signature, disk, first_disk, count, total, length, start, comment = _END.unpack_from(
        data, size - _END.size
    )
    if signature != b"PK\5\6":
        raise _foreign(origin, "it does not end as a zip without a comment does")
    if disk or first_disk or comment or count != total or not 1 <= count <= MAX_MEMBERS:
        raise _foreign(origin, f"its directory counts {count} members of {total}")
    if start + length != size - _END.size:
        raise _foreign(origin, f"its directory of {length} bytes at {start} does not fit its size {size}")
    spans: dict[str, _Span] = {}
    place, expected = start, 0
    for _ in range(count):
        if place + _CENTRAL.size > size - _END.size:
            raise _foreign(origin, "its directory ends within an entry")
        entry = _CENTRAL.unpack_from(data, place)
        signature, _, _, flags, method, _, _, crc, packed, bare, n_name, n_extra, n_comment = entry[:13]
        at = entry[-1]
        place += _CENTRAL.size
        name = _name(data, place, min(place + n_name, size - _END.size), origin)
        place += n_name
        if signature != b"PK\1\2" or n_extra or n_comment or name in spans:
            raise _foreign(origin, f"the entry of {name!r} in its directory is not sound")
        if flags or method or packed != bare:
            raise _foreign(origin, f"{name} is compressed or encrypted, and members are stored as they are")
        if at != expected:
            raise _foreign(
                origin, f"{name} is to begin at byte {at}, where the one before ends at {expected}"
            )
        begin = _begin(data, start, at, (name, crc, bare), origin)
        expected = begin + bare
        if expected > start:
            raise _foreign(
                origin, f"{name} is to end at byte {expected}, where the directory starts at {start}"
            )
        spans[name] = (begin, expected, crc)
    if place != size - _END.size or expected != start:
        raise _foreign(origin, "there are bytes that belong to no member")
    if next(iter(spans)) != MANIFEST:
        raise _foreign(origin, f"its first member is not {MANIFEST}")
    begin, end, crc = spans[MANIFEST]
    if end - begin > MAX_MANIFEST_BYTES:
        raise _foreign(origin, f"its manifest takes {end - begin} bytes")
    if zlib.crc32(data[begin:end]) != crc:
        raise ChecksumError(f"{origin}: its manifest is damaged: get it again, or write it again")
    return spans


def _begin(data: memoryview, limit: int, at: int, stated: tuple[str, int, int], origin: str) -> int:
    """Where a member's bytes begin, after its own header, which has to say what the directory says."""
    name, crc, size = stated
    if at + _LOCAL.size > limit:
        raise _foreign(origin, f"{name} is to begin at byte {at}, outside of the file's members")
    signature, _, flags, method, _, _, own_crc, packed, bare, n_name, n_extra = _LOCAL.unpack_from(data, at)
    begin: int = at + _LOCAL.size + n_name + n_extra
    same = (flags, method, own_crc, packed, bare) == (0, 0, crc, size, size)
    if signature != b"PK\3\4" or not same or begin > limit:
        raise _foreign(origin, f"the header of {name} does not say what the directory says")
    if _name(data, at + _LOCAL.size, at + _LOCAL.size + n_name, origin) != name:
        raise _foreign(origin, f"the header of {name} bears another name")
    return begin


def _name(data: memoryview, start: int, end: int, origin: str) -> str:
    text = bytes(data[start : min(end, start + 80)]).decode("latin-1")
    if not _NAME.fullmatch(text):
        raise _foreign(origin, f"{text!r} is no name of a member")
    return text


def _read_manifest(data: memoryview, spans: Mapping[str, _Span], origin: str) -> _Manifest:
    start, end, _ = spans[MANIFEST]
    text = data[start:end]
    try:
        version = msgspec.json.decode(text, type=_Format).format
        if version != FORMAT:
            raise ModelFileError(
                f"{origin}: expected format {FORMAT} of a container, got {version}: written by another "
                "version of edgecv; write it again with this one"
            )
        manifest = msgspec.json.decode(text, type=_Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _foreign(origin, f"its manifest: {error}") from error
    if manifest.kind not in KINDS:
        raise ModelFileError(f"{origin}: expected one of the kinds {', '.join(KINDS)}, got {manifest.kind!r}")
    found = {name: end - begin for name, (begin, end, _) in spans.items() if name != MANIFEST}
    if manifest.members != found:
        raise _foreign(origin, f"its manifest states members of {manifest.members} bytes, and it has {found}")
    return manifest


def _foreign(origin: str, problem: str) -> ModelFileError:
    return ModelFileError(
        f"{origin}: expected a container of edgecv: {problem}: a damaged file, or not one of edgecv's; get "
        "it again, or write it again"
    )
