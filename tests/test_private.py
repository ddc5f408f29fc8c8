"""Files that are believed because no one else can have written them."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

from edgecv import private


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own" / "file"
    private.write(str(path), b"data")
    return path


def link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


WRONG: dict[str, tuple[Callable[[Path], object], str]] = {
    "group writes": (lambda p: p.chmod(0o660), "only its owner can write, got mode 0660"),
    "others write": (lambda p: p.chmod(0o602), "only its owner can write, got mode 0602"),
    "link": (link, "expected a file, got a link"),
    "folder": (folder, "expected a file, got a folder"),
    "pipe": (pipe, "expected a file, got a device or a pipe"),
}


def test_written_for_this_user_alone(file: Path) -> None:
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert private.problem_of(str(file)) is None
    assert private.problem_of(str(file.parent), is_folder=True) is None
    assert private.read(str(file), most=4) == b"data"


@pytest.mark.parametrize(("change", "problem"), WRONG.values(), ids=WRONG)
def test_what_is_not_believed(file: Path, change: Callable[[Path], object], problem: str) -> None:
    change(file)
    found = private.problem_of(str(file))
    assert found is not None
    assert found.startswith(f"{file}: ")
    assert problem in found
    assert found.endswith(": remove it")
    # Links and folders are not even opened.
    code = {"got a link": errno.ELOOP, "got a folder": errno.EISDIR}.get(problem.partition(", ")[2])
    with pytest.raises(OSError) if code else nullcontext() as raised:  # noqa: PT011
        assert private.read(str(file), most=4) is None
    assert code is None or raised.value.errno == code


def test_others_may_read(file: Path) -> None:
    file.chmod(0o644)
    assert private.problem_of(str(file)) is None


def test_of_another_user(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 7)
    for path, is_folder in ((file, False), (file.parent, True)):
        found = private.problem_of(str(path), is_folder=is_folder)
        assert f"of user {os.getuid() + 7}, got one of user {os.getuid()}" in str(found)


def test_more_than_expected(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert private.read(str(file), most=3) is None
    assert "expected at most 3 bytes, got 4" in caplog.text


def test_nothing_is_left_of_a_write_that_fails(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(KeyboardInterrupt):
        private.write(str(file), b"other")
    assert file.read_bytes() == b"data"
    assert list(file.parent.iterdir()) == [file]


def test_leftovers_of_killed_writers_are_swept(file: Path) -> None:
    old, young = (file.with_name(f".pending-{name}") for name in ("old", "young"))
    for path in (old, young):
        path.touch()
    hour_ago = time.time() - private.LEFTOVER_AGE_S - 5
    os.utime(old, (hour_ago, hour_ago))
    os.utime(file, (hour_ago, hour_ago))
    private.sweep(str(file.parent))
    assert sorted(file.parent.iterdir()) == sorted([file, young])


def test_removing_what_is_gone(file: Path) -> None:
    assert [private.remove(str(file)), private.remove(str(file))] == [True, False]
