"""Runs the blocks of a page in their order, as a reader would, and compares what they print.

What a block is follows from the word behind its fence:

- `python`: run in one namespace a page, like a notebook; `sh`: run by `bash -euo pipefail`;
- `text`: what the block before it printed, see `expected_pattern`; `text exact`: to the last figure;
- `json`: parsed; with a `schema` it is a model card, with a `type` alone a card's head;
- any of them with `title="file"`: written to that file instead.

Python and shell share the page's folder. Anything else is an error, so that no block goes untested.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecv import card as cards
from edgecv import heads
from tests.docs.markdown import Block

# Of a machine that is busy with something else.
TIMEOUT_S = 600.0
NOTEBOOK = Path(__file__).with_name("notebook.py")

_ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[-+]?\d+)?")


class BlockError(AssertionError):
    """A block that does not do what the page says."""


class Run:
    """Blocks in their order, in one folder. env: of every process. timeout_s: of every block."""

    def __init__(
        self, blocks: Sequence[Block], folder: Path, env: Mapping[str, str], timeout_s: float = TIMEOUT_S
    ) -> None:
        self.blocks = tuple(blocks)
        self.folder = folder
        self._env = dict(env)
        self._timeout_s = timeout_s
        self._log = folder.with_name(f"{folder.name}.log")
        self._printed: str | None = None
        self._results: dict[Block, Exception | None] = {}
        self._failed: Block | None = None
        self._notebook: Notebook | None = None

    def check(self, block: Block) -> None:
        """Run the blocks up to this one that have not been run; raise what went wrong with it."""
        for each in self.blocks[: self.blocks.index(block) + 1]:
            if each not in self._results:
                self._results[each] = self._attempt(each)
        error = self._results[block]
        if error is not None:
            raise error

    def close(self) -> None:
        """End the interpreter behind the Python blocks."""
        if self._notebook is not None:
            self._notebook.close()

    def _attempt(self, block: Block) -> Exception | None:
        if self._failed is not None:
            return BlockError(f"not run: the block at {self._failed.page.name}:{self._failed.line} failed")
        try:
            self._printed = self._run(block)
        except Exception as error:
            # What is shown wrongly does not keep a reader from going on.
            if block.kind != "text":
                self._failed = block
            return error
        return None

    def _run(self, block: Block) -> str | None:
        """Returns what the block printed, None for one that is not run."""
        if block.kind not in ("python", "sh", "json", "text"):
            raise BlockError(f"unknown kind of block: {block.info!r}; use python, sh, json or text")
        if block.kind == "json":
            check_json(block.text)
        if block.title:
            self._write(block)
        elif block.kind == "text":
            if self._printed is None:
                raise BlockError("the block before it was not run: nothing printed this")
            compare(block.text, self._printed, exact="exact" in block.info.split())
        elif block.kind == "python":
            if self._notebook is None:
                self._notebook = Notebook(self.folder, self._env, self._log, self._timeout_s)
            return self._notebook.run(block)
        elif block.kind == "sh":
            return run_shell(block.text, self.folder, self._env, self._log, self._timeout_s)
        return None

    def _write(self, block: Block) -> None:
        path = self.folder / block.title
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise BlockError(f"{block.title}: outside the page's folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(block.text, "utf-8")


def run_shell(
    commands: str, folder: Path, env: Mapping[str, str], log: Path, timeout_s: float = TIMEOUT_S
) -> str:
    """What commands print, stderr included, as on a terminal. Raises BlockError where one fails."""
    with log.open("w+b") as output:
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", commands],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            code: int | None = process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            kill_group(process)
        output.seek(0)
        printed = output.read().decode("utf-8", "replace")
    if code != 0:
        how = f"no end within {timeout_s:g} s" if code is None else f"exit code {code}"
        raise BlockError(f"{how}\n{commands}--- printed ---\n{printed}")
    return printed


class Notebook:
    """The child process that runs a page's Python blocks."""

    def __init__(self, folder: Path, env: Mapping[str, str], log: Path, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._log = log.with_suffix(".python.log").open("w+b")
        answers, write_end = os.pipe()
        self._answers = os.fdopen(answers, "rb", 0)
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(NOTEBOOK), str(write_end)],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            pass_fds=[write_end],
            start_new_session=True,
        )
        os.close(write_end)

    def run(self, block: Block) -> str:
        """Returns what the block printed; raises BlockError with its traceback."""
        assert self._process.stdin is not None
        start = self._log.seek(0, os.SEEK_END)
        command = {"code": block.text, "file": str(block.page), "line": block.line + 1}
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(json.dumps(command).encode() + b"\n")
            self._process.stdin.flush()
        in_time = bool(select.select([self._answers], [], [], self._timeout_s)[0])
        answer = self._answers.readline() if in_time else b""
        self._log.seek(start)
        printed = self._log.read().decode("utf-8", "replace")
        if not answer:
            self.close()
            how = "the interpreter ended" if in_time else f"no end within {self._timeout_s:g} s"
            raise BlockError(f"{how}\n--- printed ---\n{printed}")
        error = json.loads(answer)
        if error is not None:
            raise BlockError(f"{error}--- printed ---\n{printed}")
        return printed

    def close(self) -> None:
        kill_group(self._process)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._answers.close()
        self._log.close()


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """End a child and what it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def check_json(text: str) -> None:
    """Parse; a card, or a card's head, by edgecv's own schema."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BlockError(f"not JSON: {error}") from error
    if isinstance(value, dict) and "schema" in value:
        cards.parse(text, origin="the block")
    elif isinstance(value, dict) and "type" in value:
        heads.params_from(value)


def compare(shown: str, printed: str, *, exact: bool = False) -> None:
    """Raise BlockError unless a block printed what the page shows. exact: its figures too."""
    if re.fullmatch(expected_pattern(shown, exact=exact), normalized(printed, exact=exact)):
        return
    lines = difflib.unified_diff(
        normalized(shown, exact=exact).splitlines(),
        normalized(printed, exact=exact).splitlines(),
        "shown on the page",
        "printed by the block before",
        lineterm="",
    )
    raise BlockError("\n".join(lines) + f"\n--- printed ---\n{printed}")


def expected_pattern(shown: str, *, exact: bool = False) -> str:
    """A pattern for `normalized` output.

    Figures count as equal, unless `exact`, and so do rows of spaces and of lines, which a table draws to fit
    its figures. An … in a line is any text, a line that is … alone any lines; a page may not show nothing
    else.
    """
    lines = normalized(shown, exact=exact).splitlines()
    if not any(re.search(r"\w", line.replace("…", "")) for line in lines):
        raise BlockError("this shows no word that could be compared")
    any_lines = r"(?:.*\n)*?"
    return "".join(any_lines if line == "…" else re.escape(line).replace("…", ".*?") + "\n" for line in lines)


def normalized(text: str, *, exact: bool = False) -> str:
    """Text without what differs from run to run: colors, figures, widths of columns, blank lines.

    exact: figures stay.
    """
    text = _ANSI.sub("", text)
    text = text if exact else _NUMBER.sub("#", text)
    text = re.sub(r"[─━═]+", "─", text)
    lines = (re.sub(r"\s+", " ", line).strip() for line in text.splitlines())
    return "".join(f"{line}\n" for line in lines if line)
