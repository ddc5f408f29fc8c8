"""The container: what is written is read, any zip reader can look into it, and anything else is refused."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

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


def with_manifest(**changes: object) -> bytes:
    """A sound zip whose manifest says something else."""
    with zipfile.ZipFile(io.BytesIO(written())) as archive:
        manifest = {**msgspec.json.decode(archive.read("manifest.json")), **changes}
        rest = {name: archive.read(name) for name in archive.namelist()[1:]}
    room = io.BytesIO()
    with zipfile.ZipFile(room, "w") as archive:
        archive.writestr("manifest.json", msgspec.json.encode(manifest))
        for name, data in rest.items():
            archive.writestr(name, data)
    return room.getvalue()


WRONG = {
    "empty": (b"", "0 bytes"),
    "short": (b"PK\3\4", "4 bytes"),
    "text": (b"no container at all, but some text", "does not end as a zip"),
    "cut": (written()[:-1], "does not end as a zip"),
    "front cut": (written()[1:], "does not fit its size"),
    "comment": (written() + b"x", "does not end as a zip"),
    "added member": (rezipped(lambda archive: archive.writestr("more", b"")), "its manifest states members"),
    "path": (rezipped(lambda archive: archive.writestr("../../etc/x", b"")), "is no name of a member"),
    "compressed": (rezipped(lambda a: a.writestr("z", bytes(10**6), 8)), "compressed or encrypted"),
    "bomb": (other_zip(zipfile.ZIP_DEFLATED), "compressed or encrypted"),
    "large manifest": (other_zip(zipfile.ZIP_STORED), "its manifest takes 10000002 bytes"),
    "newer": (with_manifest(format=3), "expected format 2 of a container, got 3"),
    "older": (
        with_manifest(format=1, members={"weights": {"bytes": 1, "sha256": ""}}),
        "expected format 2 of a container, got 1",
    ),
    "kind": (with_manifest(kind="picture"), "expected one of the kinds plan, anomaly, bundle, got 'picture'"),
    "field": (with_manifest(more=1), "unknown field `more`"),
    "types": (with_manifest(members=[]), "Expected `object`"),
    "sizes": (with_manifest(members={"weights": 1}), "its manifest states members"),
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


def test_every_changed_byte_is_noticed() -> None:
    """But for those that say nothing: dates, attributes, and what lies in the padding."""
    data = bytearray(written())
    silent = 0
    for place in range(0, len(data), 7):
        data[place] ^= 0x5A
        try:
            found = container.read(bytes(data))
            assert {name: found.copied(name).tobytes() for name in MEMBERS} == {
                name: value if isinstance(value, bytes) else value.tobytes()
                for name, value in MEMBERS.items()
            }
            silent += 1
        except ModelFileError:
            pass
        data[place] ^= 0x5A
    assert silent * 7 < 700


def test_a_damaged_member_is_named() -> None:
    data = bytearray(written())
    data[data.index(MEMBERS["weights"].tobytes()) + 5] ^= 1  # type: ignore[union-attr]
    found = container.read(bytes(data))
    found.copied("facts.json")
    for take in (found.mapped, found.copied):
        with pytest.raises(ChecksumError, match="weights: expected CRC-32"):
            take("weights")


def test_other_questions(path: Path, tmp_path: Path) -> None:
    found = container.read(path)
    with pytest.raises(ModelFileError, match="of kind anomaly, got plan"):
        found.expect("anomaly")
    with pytest.raises(ModelFileError, match="has a member other"):
        found.mapped("other")
    with pytest.raises(ModelFileError, match="takes 4000 bytes, expected at most 10"):
        found.copied("weights", most=10)
    with pytest.raises(ModelNotFoundError, match="no such file"):
        container.read(tmp_path / "none.ecv")
    with pytest.raises(ModelFileError, match="expected a file, got a folder or a device"):
        container.read(tmp_path)
    os.mkfifo(tmp_path / "pipe.ecv")
    with pytest.raises(ModelFileError, match="expected a file"):
        container.read(tmp_path / "pipe.ecv")
    assert not container.is_container(tmp_path / "pipe.ecv")
    assert not container.is_container(b"PK\3\4 and nothing else")
    assert container.is_container(path)
