"""sha256 of files, remembered for as long as the files stay as they are."""

from __future__ import annotations

import hashlib
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgecv import hashes, private
from edgecv.errors import InputError

CONTENT = b"these are weights"


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that a test has just written are remembered like old ones."""
    monkeypatch.setattr(hashes, "SETTLED_NS", 0)


@pytest.fixture
def memory() -> Path:
    return Path(os.environ["EDGECV_CACHE"]) / "hashes.json"


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Files that were read to be hashed."""
    read: list[str] = []
    original = hashes._hash
    monkeypatch.setattr(hashes, "_hash", lambda path: (read.append(path), original(path))[1])
    return read


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(path: Path, data: bytes = CONTENT) -> Path:
    path.write_bytes(data)
    return path


def test_of_bytes() -> None:
    assert hashes.digest(CONTENT) == sha256(CONTENT)


def test_of_bytes_where_python_has_no_sha256_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(hashes, "import_module", fail)
    assert hashes.digest(CONTENT) == sha256(CONTENT)


def test_a_file_is_read_once(tmp_path: Path, memory: Path, reads: list[str]) -> None:
    path = put(tmp_path / "file")
    (tmp_path / "link").symlink_to(path)
    assert [hashes.digest_of(p) for p in (path, str(path), tmp_path / "link")] == [sha256(CONTENT)] * 3
    assert reads == [str(path)]
    assert memory.stat().st_mode & 0o777 == 0o600
    assert memory.parent.stat().st_mode & 0o777 == 0o700
    assert list(memory.parent.iterdir()) == [memory]


def test_a_large_file(tmp_path: Path) -> None:
    data = os.urandom((3 << 20) + 7)
    assert hashes.digest_of(put(tmp_path / "file", data)) == sha256(data)


def test_other_contents_of_the_same_size_and_time(tmp_path: Path) -> None:
    path = put(tmp_path / "file")
    before = path.stat()
    hashes.digest_of(path)
    put(path, CONTENT[::-1])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert hashes.digest_of(path) == sha256(CONTENT[::-1])


def test_another_file_under_the_same_name(tmp_path: Path) -> None:
    path = put(tmp_path / "file")
    hashes.digest_of(path)
    put(tmp_path / "other", b"x" * len(CONTENT)).replace(path)
    assert hashes.digest_of(path) == sha256(b"x" * len(CONTENT))


def test_a_file_that_has_just_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    """Within a tick of the file system's clock a second change would not show."""
    monkeypatch.setattr(hashes, "SETTLED_NS", 3_000_000_000)
    path = put(tmp_path / "file")
    hashes.digest_of(path)
    hashes.digest_of(path)
    assert len(reads) == 2


def test_a_file_that_changes_while_it_is_read_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memory: Path
) -> None:
    path = put(tmp_path / "file")
    facts = iter([(1, 2, 3, 4), (1, 2, 5, 4)])
    monkeypatch.setattr(hashes, "_facts", lambda _: next(facts))
    hashes.digest_of(path)
    assert not memory.exists()


def test_the_latest_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]) -> None:
    monkeypatch.setattr(hashes, "MAX_REMEMBERED", 2)
    paths = [put(tmp_path / name, name.encode()) for name in "abc"]
    for path in paths:
        hashes.digest_of(path)
    reads.clear()
    for path in reversed(paths):
        hashes.digest_of(path)
    assert reads == [str(paths[0])]


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'"x"', b'{"a": 1}', b'{"a": [[1, 2, 3], "x"]}', b"\xff", b"[" * 100_000]
)
def test_a_damaged_memory_is_ignored(tmp_path: Path, memory: Path, damage: bytes) -> None:
    memory.parent.mkdir()
    memory.write_bytes(damage)
    memory.chmod(0o600)
    path = put(tmp_path / "file")
    assert hashes.digest_of(path) == sha256(CONTENT)
    assert sha256(CONTENT) in memory.read_text()


def test_an_old_memory_is_ignored(tmp_path: Path, memory: Path) -> None:
    path = put(tmp_path / "file")
    memory.parent.mkdir()
    status = path.stat()
    memory.write_text(f'{{"{path}:{status.st_size}:{status.st_mtime_ns}": "{"0" * 64}"}}')
    memory.chmod(0o600)
    assert hashes.digest_of(path) == sha256(CONTENT)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_memory_that_others_can_write_is_not_believed(
    tmp_path: Path, memory: Path, reads: list[str], mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(tmp_path / "file")
    hashes.digest_of(path)
    memory.write_text(memory.read_text().replace(sha256(CONTENT), "0" * 64))
    memory.chmod(mode)
    assert hashes.digest_of(path) == sha256(CONTENT)
    (said,) = {record.message for record in caplog.records}
    assert f"got mode {mode:04o}" in said
    # It is replaced by one that is.
    assert hashes.digest_of(path) == sha256(CONTENT)
    assert len(reads) == 2


def test_a_memory_of_another_user_is_not_believed(
    tmp_path: Path, memory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = put(tmp_path / "file")
    hashes.digest_of(path)
    memory.write_text(memory.read_text().replace(sha256(CONTENT), "0" * 64))
    assert hashes.digest_of(path) == "0" * 64
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert hashes.digest_of(path) == sha256(CONTENT)
    assert "got one of user" in caplog.text


def test_a_link_is_no_memory(tmp_path: Path, memory: Path) -> None:
    path = put(tmp_path / "file")
    hashes.digest_of(path)
    forged = put(tmp_path / "forged.json", memory.read_bytes().replace(sha256(CONTENT).encode(), b"0" * 64))
    forged.chmod(0o600)
    memory.unlink()
    memory.symlink_to(forged)
    assert hashes.digest_of(path) == sha256(CONTENT)
    assert not memory.is_symlink()


def test_a_folder_that_cannot_be_made_costs_only_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str]
) -> None:
    monkeypatch.setenv("EDGECV_CACHE", str(put(tmp_path / "taken") / "cache"))
    path = put(tmp_path / "file")
    assert [hashes.digest_of(path), hashes.digest_of(path)] == [sha256(CONTENT)] * 2
    assert len(reads) == 2


def test_without_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hashes, "cache_folder", lambda *_: None)
    assert hashes.digest_of(put(tmp_path / "file")) == sha256(CONTENT)


def test_a_name_that_is_not_unicode(tmp_path: Path, reads: list[str]) -> None:
    path = put(tmp_path / os.fsdecode(b"\xff.onnx"))
    for _ in range(2):
        assert hashes.digest_of(path) == sha256(CONTENT)
    assert len(reads) == 1


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(InputError, match="expected a file, got a folder or a device"):
            hashes.digest_of(path)
    with pytest.raises(FileNotFoundError):
        hashes.digest_of(tmp_path / "nothing")


def test_openssl_is_loaded_for_files_alone() -> None:
    code = (
        "import sys; from edgecv import hashes; hashes.digest(b'x');"
        "sys.exit(any(m in sys.modules for m in ('hashlib', '_hashlib', 'logging')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_problem_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        private.warn("a test's problem")
    assert [(r.levelno, r.message) for r in caplog.records] == [
        (logging.WARNING, "not used: a test's problem")
    ]


@pytest.mark.parametrize("size", [1 << 10, 1 << 20], ids=["read whole", "read in samples"])
def test_other_bytes_with_the_same_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[str], size: int
) -> None:
    """As in images of a file system that is built with fixed times and inodes."""
    path = tmp_path / "file"
    monkeypatch.setattr(hashes, "_facts", lambda status: (status.st_size, 0, 0, 0))
    for content in (b"a" * size, b"b" * size):
        assert hashes.digest_of(put(path, content)) == sha256(content)
        assert hashes.digest_of(path) == sha256(content)
    assert len(reads) == 2
