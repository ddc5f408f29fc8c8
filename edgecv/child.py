"""A function in a process of its own, for libraries that may end theirs.

The child is a new interpreter, never a fork: what threads of the parent hold stays there. A signal, a word
that does not come in time, or memory that the machine has not got is a `ChildEnded` in the parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from edgecv import errors, machine
from edgecv.errors import BackendError, EdgeCVError

# The parent's own search path: with -m or -c alone Python would put the working folder in front.
BOOTSTRAP = "import sys; folder, *sys.path[:] = sys.argv[1:]; from edgecv.child import main; main(folder)"
EXIT_GRACE_S = 5.0
MAX_WORD_BYTES = 1 << 16
# How soon one that nobody waits for any more is ended.
UNWANTED_STEP_S = 0.1
_CALL, _RESULT, _CHATTER = "call", "result", "chatter"


class ChildEnded(BackendError):
    """A process that ended, or had to be ended, before its function did."""


def call(
    target: str,
    *args: Any,
    doing: str,
    quiet_s: float,
    heard: Callable[..., None] | None = None,
    unwanted: threading.Event | None = None,
    scratch: Path | None = None,
) -> Any:
    """What `target`, "module:function", returns for these arguments, all of which can be pickled.

    doing: what for, for messages. quiet_s: the longest time without a word. heard: is given what the function
    tells by the `tell=` that it then takes, values of JSON. unwanted: set by another thread once nobody waits
    for the result any more, which ends the child. scratch: a temporary folder of the caller's, which the
    child removes where the caller is killed. What the function raises of edgecv's errors is raised here;
    anything else as a BackendError. Raises ChildEnded.
    """
    with tempfile.TemporaryDirectory(prefix="edgecv-") as name:
        folder = Path(name)
        asked = (target, args, heard is not None, machine.memory_budget(), scratch)
        (folder / _CALL).write_bytes(pickle.dumps(asked, pickle.HIGHEST_PROTOCOL))
        _wait(folder, doing, quiet_s, heard or (lambda *_: None), unwanted)
        kind, told = pickle.loads((folder / _RESULT).read_bytes())
    if kind == "done":
        return told
    raise getattr(errors, kind)(told)


def _wait(
    folder: Path,
    doing: str,
    quiet_s: float,
    heard: Callable[..., None],
    unwanted: threading.Event | None,
) -> None:
    """Run the child to its end. Raises ChildEnded where it left no result."""
    if unwanted is not None and unwanted.is_set():
        raise ChildEnded(f"not begun {doing}: nobody waits for it")
    with (folder / _CHATTER).open("wb") as chatter:
        try:
            process = subprocess.Popen(
                [sys.executable, "-c", BOOTSTRAP, str(folder), *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=chatter,
                # Ctrl-C reaches the parent alone, which then ends the child.
                start_new_session=True,
            )
        except OSError as error:
            raise ChildEnded(f"no process could be started {doing}: {error}") from error
    try:
        if not _listen(process, quiet_s, heard, unwanted):
            is_late = unwanted is None or not unwanted.is_set()
            raise ChildEnded(
                f"no answer within {quiet_s:g} s {doing}: ended"
                if is_late
                else f"ended {doing}: nobody waits for it"
            )
        try:
            code = process.wait(EXIT_GRACE_S)
        except subprocess.TimeoutExpired:
            raise ChildEnded(f"its process closed its pipe {doing}") from None
        if code or not (folder / _RESULT).exists():
            raise ChildEnded(f"its process {how_it_ended(code)} {doing}{_last_words(folder)}")
    finally:
        _end(process)


def _listen(
    process: subprocess.Popen[bytes],
    quiet_s: float,
    heard: Callable[..., None],
    unwanted: threading.Event | None,
) -> bool:
    """Hand on every word until the child closes its pipe; False where it is silent for too long, or
    unwanted."""
    assert process.stdout is not None
    words = b""
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        deadline = time.monotonic() + quiet_s
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or (unwanted is not None and unwanted.is_set()):
                return False
            if unwanted is not None:
                left = min(left, UNWANTED_STEP_S)
            if not selector.select(left):
                continue
            data = os.read(process.stdout.fileno(), 1 << 16)
            if not data:
                return True
            *whole, words = (words + data).split(b"\n")
            words = words[:MAX_WORD_BYTES]
            for word in whole:
                with contextlib.suppress(ValueError):
                    heard(*json.loads(word))
                    deadline = time.monotonic() + quiet_s


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def how_it_ended(code: int) -> str:
    """An exit code in words: "was ended by signal SIGFPE"."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"was ended by signal {name}" + (" (out of memory?)" if name == "SIGKILL" else "")


def _last_words(folder: Path) -> str:
    with (folder / _CHATTER).open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - 4096, 0))
        lines = file.read().decode(errors="replace").split("\n")
    last = next((" ".join(line.split()) for line in reversed(lines) if line.strip()), "")
    return f": {last[:300]}" if last else ""


def main(folder: str) -> None:
    """The child: call the function, leave what it gives in the folder, and end without ado."""
    words = os.dup(1)
    # What a library prints is no word of ours.
    os.dup2(2, 1)
    parent = os.dup(0)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    target, args, tells, memory, scratch = pickle.loads(Path(folder, _CALL).read_bytes())
    left = [Path(folder), *([scratch] if scratch else [])]
    threading.Thread(target=_end_with_parent, args=(parent, left), daemon=True).start()
    _limit(memory)
    told = _answer(target, args, {"tell": _teller(words)} if tells else {})
    part = Path(folder, f"{_RESULT}.part")
    part.write_bytes(pickle.dumps(told, pickle.HIGHEST_PROTOCOL))
    part.replace(Path(folder, _RESULT))
    # Libraries that fall over when they are taken down do no harm any more.
    os._exit(0)


def _answer(target: str, args: tuple[Any, ...], named: dict[str, Any]) -> tuple[str, Any]:
    module, _, name = target.partition(":")
    try:
        return "done", getattr(import_module(module), name)(*args, **named)
    except EdgeCVError as error:
        kind = next(each.__name__ for each in type(error).__mro__ if hasattr(errors, each.__name__))
        return kind, str(error)
    except Exception as error:
        text = " ".join(str(error).split())[:1000]
        return BackendError.__name__, f"{type(error).__name__}: {text}" if text else type(error).__name__


def _teller(pipe: int) -> Callable[..., None]:
    def tell(*values: Any) -> None:
        os.write(pipe, json.dumps(values).encode() + b"\n")

    return tell


def _end_with_parent(pipe: int, left: Sequence[Path]) -> None:
    """The parent's end of the pipe closes when it ends, however it does. left: folders that it had no time to
    remove."""
    with contextlib.suppress(OSError):
        while os.read(pipe, 1):
            pass
    for folder in left:
        shutil.rmtree(folder, ignore_errors=True)
    os._exit(1)


def _limit(memory: int | None) -> None:
    """No more memory than the machine has; where it runs short all the same, this process goes first."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
