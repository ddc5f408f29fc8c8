"""The container: what is written is read, any zip reader can look into it, and anything else is refused."""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgecv import container
from edgecv.errors import ChecksumError, ModelFileError, ModelNotFoundError

MEMBERS = {"facts.json": b'{"a": 1}', "empty": b"", "weights": np.arange(1000, dtype=np.float32)}


def written() -> bytes:
    return container.to_bytes("plan", MEMBERS, {"isa": "avx2"})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.ecv"
    path.write_bytes(written())
    return path


def test_read_as_written(path: Path) -> None:
    for source in (path, path.read_bytes()):
        found = container.read(source)
        assert (found.kind, dict(found.about)) == ("plan", {"isa": "avx2"})
        assert found.written_by.startswith("edgecv ")
        for name, data in MEMBERS.items():
            expected = data if isinstance(data, bytes) else data.tobytes()
            assert found.mapped(name).tobytes() == expected
            assert found.copied(name).tobytes() == expected
            assert name in found
        assert found.names == tuple(MEMBERS)
        assert "manifest.json" not in found


def test_mapped_is_in_place_and_read_only(path: Path) -> None:
    weights = container.read(path).mapped("weights")
    assert not weights.flags.writeable
    assert not weights.flags.owndata
    assert weights.ctypes.data % container.ALIGNMENT == 0
    with path.open("r+b") as file:
        file.seek(path.read_bytes().index(MEMBERS["weights"].tobytes()))  # type: ignore[union-attr]
        file.write(b"\xff")
    assert weights[0] == 0xFF, "it shows what the file becomes: it is mapped"


def test_copied_is_aligned_and_stays(path: Path) -> None:
    found = container.read(path)
    copy = found.copied("weights")
    assert copy.ctypes.data % container.ALIGNMENT == 0
    path.write_bytes(path.read_bytes()[:-30].ljust(path.stat().st_size, b"\0"))
    assert copy.tobytes() == MEMBERS["weights"].tobytes()  # type: ignore[union-attr]


def test_same_bytes_for_the_same_contents() -> None:
    assert written() == written()


def test_a_zip_like_any_other() -> None:
    with zipfile.ZipFile(io.BytesIO(written())) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["manifest.json", *MEMBERS]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}


def parts_of(data: bytes) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What the manifest says, and the other members."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    return msgspec.json.decode(members.pop("manifest.json")), members


def laid_out(manifest: bytes, members: Mapping[str, bytes]) -> bytes:
    """A sound zip of these members, laid out as the writer does it, whatever the manifest says of them."""
    everything = {"manifest.json": manifest, **members}
    stated = {name: container.Member(len(data), zlib.crc32(data)) for name, data in everything.items()}
    headers, tail = container.layout(stated, "test")
    return b"".join(part for pair in zip(headers, everything.values(), strict=True) for part in pair) + tail


def with_manifest(**changes: object) -> bytes:
    manifest, members = parts_of(written())
    return laid_out(indented({**manifest, **changes}), members)


def indented(manifest: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(manifest), indent=1)


def stating(**changes: Any) -> bytes:
    """A file that is laid out for its manifest, which says something else of some members than they are."""
    manifest, members = parts_of(written())
    listed = {**manifest["members"], **changes}
    text = indented({**manifest, "members": listed})
    stated = {
        "manifest.json": container.Member(len(text), zlib.crc32(text)),
        **msgspec.convert(listed, dict[str, container.Member]),
    }
    headers, tail = container.layout(stated, "test")
    contents = [text, *(members.get(name, b"") for name in listed)]
    return b"".join(part for pair in zip(headers, contents, strict=True) for part in pair) + tail


def rezipped(change: Callable[[zipfile.ZipFile], None]) -> bytes:
    room = io.BytesIO(written())
    with zipfile.ZipFile(room, "a") as archive:
        change(archive)
    return room.getvalue()


def other_zip(compression: int) -> bytes:
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w", compression) as archive:
        archive.writestr("manifest.json", b"{}" + b" " * 10_000_000)
    return room.getvalue()


def restored() -> bytes:
    """The same members, stored by another writer of zips: not where they belong."""
    room = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(written())) as archive, zipfile.ZipFile(room, "w") as other:
        for name in archive.namelist():
            other.writestr(name, archive.read(name))
    return room.getvalue()


def reordered() -> bytes:
    manifest, members = parts_of(written())
    return laid_out(indented(manifest), dict(reversed(members.items())))


def renamed() -> bytes:
    manifest, members = parts_of(written())
    return laid_out(indented(manifest), {f"{name}.x": data for name, data in members.items()})


LISTED = {"bytes": 1, "crc32": 0}
NO_START = "does not begin with a manifest"
NOT_STATED = "not what its manifest states"

WRONG = {
    "short": (b"PK\3\4", "4 bytes"),
    "text": (b"no container at all, but some text", NO_START),
    "cut": (written()[:-1], NOT_STATED),
    "front cut": (written()[1:], NO_START),
    "header only": (written()[:64], "expected format 3"),
    "comment": (written() + b"x", NOT_STATED),
    "twice": (written() + written(), NOT_STATED),
    "added member": (rezipped(lambda archive: archive.writestr("more", b"")), NOT_STATED),
    "path": (rezipped(lambda archive: archive.writestr("../../etc/x", b"")), NOT_STATED),
    "compressed": (rezipped(lambda a: a.writestr("z", bytes(10**6), 8)), NOT_STATED),
    "bomb": (other_zip(zipfile.ZIP_DEFLATED), "expected format 3"),
    "large manifest": (other_zip(zipfile.ZIP_STORED), "its manifest takes 10000002 bytes"),
    "another zip": (restored(), "expected format 3"),
    "reordered": (reordered(), "facts.json and its header are not"),
    "renamed": (renamed(), "facts.json and its header are not"),
    "newer": (with_manifest(format=4), "expected format 3 of a container, got another"),
    "older": (
        with_manifest(format=2, members={"weights": 1}),
        "expected format 3 of a container, got another: written by another version",
    ),
    "kind": (
        with_manifest(kind="picture"),
        "its kind is 'picture', not one of plan, verdict, anomaly, bundle",
    ),
    "field": (with_manifest(more=1), "unknown field `more`"),
    "field of lines": (with_manifest(**{"more\nlines\r": 1}), "unknown field `more lines `"),
    "no backend": (laid_out(indented({"format": 3, "kind": "plan"}), {}), "missing required field `backend`"),
    "types": (with_manifest(members=[]), "Expected `object`"),
    "types of a member": (with_manifest(members={"weights": 1}), "Expected `object`, got `int`"),
    "no members": (with_manifest(members={}), NOT_STATED),
    "fewer members": (with_manifest(members={"facts.json": LISTED}), "facts.json and its header are not"),
    "size": (stating(weights={"bytes": 3999, "crc32": 0}), "its directory is not"),
    "longer": (stating(weights={"bytes": 4001, "crc32": 0}), "its directory is not"),
    "beyond the end": (stating(weights={"bytes": 1 << 31, "crc32": 0}), "weights and its header are not"),
    "one more": (stating(**{"../../etc/x": LISTED}), "['../../etc/x'] are no names of one"),
    "upper case": (stating(Weights=LISTED), "['Weights'] are no names of one"),
    "long name": (stating(**{"w" * 65: LISTED}), "are no names of one"),
    "a second manifest": (
        with_manifest(members={"manifest.json": LISTED}),
        "['manifest.json'] are no names of one",
    ),
    "negative": (with_manifest(members={"weights": {"bytes": -1, "crc32": 0}}), "do not fit the 32 bits"),
    "4 GB": (with_manifest(members={"weights": {"bytes": 1 << 32, "crc32": 0}}), "do not fit the 32 bits"),
    "4 GB together": (
        with_manifest(members={name: {"bytes": 1 << 31, "crc32": 0} for name in ("a", "b", "c")}),
        "do not fit the 32 bits",
    ),
    "huge": (with_manifest(members={"weights": {"bytes": 10**300, "crc32": 0}}), "do not fit the 32 bits"),
    "sum": (with_manifest(members={"weights": {"bytes": 1, "crc32": 1 << 32}}), "do not fit the 32 bits"),
    "many": (with_manifest(members={f"{i}": LISTED for i in range(129)}), "it has 129 members"),
    "deep": (laid_out(b'{\n "format": 3,' + b"[" * 10**5, {}), "its manifest: "),
    "not text": (laid_out(b'{\n "format": 3, "kind": "\xff"}', {}), "its manifest: Invalid UTF-8"),
}


@pytest.mark.parametrize(("data", "problem"), WRONG.values(), ids=WRONG)
def test_refused(data: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "model.ecv"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ModelFileError) as caught:
            container.read(source)
        assert problem in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 1000


def test_what_these_files_are_made_of_is_read() -> None:
    """`with_manifest` and `stating` make containers, as long as they change nothing."""
    for data in (with_manifest(), stating()):
        assert data == written()


def small() -> bytes:
    return container.to_bytes("plan", {"facts.json": b"[]", "weights": bytes(range(40))}, {"isa": "avx2"})


def damaged(data: bytes) -> Mapping[str, ChecksumError | bytes]:
    """Each member of a container that is taken for one, or the error that it is refused with."""
    found, taken = container.read(data), {}
    for name in found.names:
        for take in (found.mapped, found.copied):
            try:
                taken[name] = take(name).tobytes()
            except ChecksumError as error:
                taken[name] = error
    return taken


def test_every_changed_bit_is_noticed() -> None:
    data = small()
    places = {"facts.json": data.index(b"[]"), "weights": data.index(bytes(range(40)))}
    spans = {"facts.json": range(places["facts.json"], places["facts.json"] + 2)}
    spans["weights"] = range(places["weights"], places["weights"] + 40)
    refused = 0
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            inside = [name for name, span in spans.items() if place in span]
            if inside:
                taken = damaged(bytes(changed))
                assert [name for name, found in taken.items() if isinstance(found, ChecksumError)] == inside
                continue
            with pytest.raises(ModelFileError) as caught:
                container.read(bytes(changed))
            assert len(str(caught.value).splitlines()) == 1
            refused += 1
    assert refused == 8 * (len(data) - 42)


def test_every_length_is_noticed() -> None:
    data = small()
    for size in range(len(data)):
        with pytest.raises(ModelFileError):
            container.read(data[:size])
    for more in (b"\0", b"PK", data[-22:], bytes(4096)):
        with pytest.raises(ModelFileError):
            container.read(data + more)


def test_swapped_members_are_noticed() -> None:
    """Of one size: their places in the file are those of each other."""
    one, other = bytes(range(64)), bytes(range(64, 128))
    data = container.to_bytes("plan", {"one": one, "other": other})
    neither = b"\xff" * 64
    taken = damaged(data.replace(one, neither).replace(other, one).replace(neither, other))
    assert len(taken) == 2
    assert all(isinstance(found, ChecksumError) for found in taken.values())


def test_a_damaged_member_is_named() -> None:
    data = bytearray(written())
    data[data.index(MEMBERS["weights"].tobytes()) + 5] ^= 1  # type: ignore[union-attr]
    found = container.read(bytes(data))
    found.copied("facts.json")
    for take in (found.mapped, found.copied):
        with pytest.raises(ChecksumError, match="weights: expected CRC-32"):
            take("weights")


def test_what_no_reader_takes_is_not_written() -> None:
    for members, about in (
        ({"../x": b""}, {}),
        ({"Weights": b""}, {}),
        ({"": b""}, {}),
        ({"manifest.json": b""}, {}),
        ({str(i): b"" for i in range(129)}, {}),
        ({}, {"a": "x" * container.MAX_MANIFEST_BYTES}),
    ):
        with pytest.raises(ModelFileError):
            container.to_bytes("plan", members, about)
    with pytest.raises(ModelFileError, match="its kind is 'picture'"):
        container.to_bytes("picture", {})


def test_backend() -> None:
    assert container.read(container.to_bytes("plan", {}, backend="simd")).backend == "simd"
    assert container.read(written()).backend == ""


def test_other_questions(path: Path, tmp_path: Path) -> None:
    found = container.read(path)
    with pytest.raises(ModelFileError, match="of kind anomaly, got plan"):
        found.expect("anomaly")
    with pytest.raises(ModelFileError, match=r"expected a member other, got facts\.json, empty, weights"):
        found.mapped("other")
    with pytest.raises(ModelFileError, match="takes 4000 bytes, expected at most 10"):
        found.copied("weights", most=10)
    with pytest.raises(ModelNotFoundError, match="no such file"):
        container.read(tmp_path / "none.ecv")
    with pytest.raises(ModelFileError, match="expected a file, got a folder or a device"):
        container.read(tmp_path)
    (tmp_path / "empty.ecv").write_bytes(b"")
    with pytest.raises(ModelFileError, match="cannot mmap an empty file"):
        container.read(tmp_path / "empty.ecv")
    with pytest.raises(ModelFileError, match="and has 0 bytes"):
        container.read(b"")
    os.mkfifo(tmp_path / "pipe.ecv")
    with pytest.raises(ModelFileError, match="expected a file"):
        container.read(tmp_path / "pipe.ecv")
    assert not container.is_container(tmp_path / "pipe.ecv")
    assert not container.is_container(b"PK\3\4 and nothing else")
    assert container.is_container(path)
