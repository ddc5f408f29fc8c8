"""A function in a process of its own, and every way in which it can end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecv import child
from edgecv.child import ChildEnded
from edgecv.errors import BackendError, CardError

ME = "tests.test_child"


def add(a: int, b: int) -> tuple[int, int]:
    return a + b, os.getpid()


def count(n: int, tell: Callable[..., None]) -> str:
    print("what a library prints is no word")
    for i in range(n):
        tell("step", i)
    return "done"


def fail(kind: str) -> None:
    raise {"ours": CardError("name: no"), "other": KeyError("k"), "derived": ChildEnded("of its own")}[kind]


def end(kind: str) -> None:
    print("its last words", file=sys.stderr, flush=True)
    if kind == "exit":
        os._exit(7)
    os.kill(os.getpid(), getattr(signal, kind))


def wait(path: str) -> None:
    Path(path).write_text(str(os.getpid()))
    time.sleep(600)


def test_a_result() -> None:
    total, pid = child.call(f"{ME}:add", 1, 2, doing="here", quiet_s=60)
    assert total == 3
    assert pid != os.getpid()


def test_words() -> None:
    told: list[Any] = []
    heard = lambda *word: told.append(word)  # noqa: E731
    assert child.call(f"{ME}:count", 3, doing="here", quiet_s=60, heard=heard) == "done"
    assert told == [("step", 0), ("step", 1), ("step", 2)]


@pytest.mark.parametrize(
    ("kind", "error", "text"),
    [
        ("ours", CardError, "^name: no$"),
        ("other", BackendError, "^KeyError: 'k'$"),
        ("derived", BackendError, "^of its own$"),
    ],
)
def test_errors(kind: str, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text) as caught:
        child.call(f"{ME}:fail", kind, doing="here", quiet_s=60)
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("exit", "its process ended with exit code 7 here: its last words"),
        ("SIGFPE", "its process was ended by signal SIGFPE here: its last words"),
        ("SIGKILL", r"its process was ended by signal SIGKILL \(out of memory\?\) here: its last words"),
    ],
)
def test_ends(kind: str, text: str) -> None:
    with pytest.raises(ChildEnded, match=text):
        child.call(f"{ME}:end", kind, doing="here", quiet_s=60)


def test_one_that_cannot_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(ChildEnded, match="no process could be started here"):
        child.call(f"{ME}:add", 1, 2, doing="here", quiet_s=60)


def test_silence(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pytest.raises(ChildEnded, match="no answer within 3 s here: ended"):
        child.call(f"{ME}:wait", str(path), doing="here", quiet_s=3)
    if path.exists():
        assert is_gone(int(path.read_text()))


def test_one_that_nobody_waits_for(tmp_path: Path) -> None:
    path, unwanted = tmp_path / "pid", threading.Event()
    threading.Timer(1.0, unwanted.set).start()
    with pytest.raises(ChildEnded, match="ended here: nobody waits for it"):
        child.call(f"{ME}:wait", str(path), doing="here", quiet_s=600, unwanted=unwanted)
    if path.exists():
        assert is_gone(int(path.read_text()))
    with pytest.raises(ChildEnded, match="not begun here"):
        child.call(f"{ME}:add", 1, 2, doing="here", quiet_s=60, unwanted=unwanted)


def test_a_child_ends_with_its_parent(tmp_path: Path) -> None:
    path, folder = tmp_path / "pid", tmp_path / "temporary"
    scratch = folder / "scratch"
    scratch.mkdir(parents=True)
    (scratch / "network").touch()
    code = (
        "from pathlib import Path; from edgecv import child; "
        f"child.call('{ME}:wait', {str(path)!r}, doing='', quiet_s=600, scratch=Path({str(scratch)!r}))"
    )
    with subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "TMPDIR": str(folder)}) as parent:
        deadline = time.monotonic() + 60
        while not (path.exists() and path.read_text()):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        parent.kill()
    pid = int(path.read_text())
    while not is_gone(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not list(folder.iterdir())


def is_gone(pid: int) -> bool:
    """Whether a process has ended, or is a zombie that nobody has asked after yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True
