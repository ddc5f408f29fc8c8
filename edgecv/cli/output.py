"""Where output goes: data to stdout, everything else to stderr."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgecv.errors import InputError, OutputError
from edgecv.settings import ISA, MODELS

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

    from edgecv.report import Page


@cache
def stderr() -> Console:
    """For progress bars and remarks."""
    from rich.console import Console

    return Console(stderr=True)


class ProgressBar:
    """A bar on stderr that is told how much is done of how much."""

    def __init__(self, progress: Progress, description: str) -> None:
        self._progress = progress
        self._task = progress.add_task(description, total=None)

    def update(self, done: int, total: int | None) -> None:
        """done of total; a total of None means that nobody knows."""
        self._progress.update(self._task, completed=done, total=total)

    def step(self, what: str, done: int, total: int | None) -> None:
        """As `update`, of a run with several steps; what: the one that is under way."""
        self._progress.update(self._task, description=what, completed=done, total=total)


@contextmanager
def progress_bar(description: str) -> Iterator[ProgressBar]:
    """A bar on stderr while the block runs; nothing where stderr is not a terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=stderr(), transient=True, disable=not stderr().is_terminal) as progress:
        yield ProgressBar(progress, description)


def stdout() -> Console:
    """For tables: as wide as the terminal, or wide enough for a file."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=160)


def width() -> int:
    """Columns of a table on stdout."""
    return stdout().width


def print_table(table: object) -> None:
    """A rich table on stdout."""
    stdout().print(table)


def check_outputs(json_path: str | None, html_path: str | None, inputs: Iterable[str]) -> None:
    """Raises before a long run what would go wrong after it, when its files are written.

    inputs: files that the run reads. Raises InputError, OutputError and MissingExtraError.
    """
    from edgecv import extras
    from edgecv.media.atomic import check_distinct, check_not_input, check_writable

    if html_path in ("", "-"):
        raise InputError(f"--html: expected the name of a file, got {html_path!r}; stdout is for --json -")
    if html_path is not None:
        extras.require("jinja2", "reports")
    targets = [Path(path) for path in (json_path, html_path) if path not in (None, "-")]
    read = [Path(path) for path in inputs]
    for target in targets:
        check_not_input(target, read)
        check_writable(target)
    check_distinct(targets)


def tell_written(path: Path | str, more: str = "") -> None:
    """A remark on stderr. more: of the file, such as its size."""
    click.echo(f"edgecv: wrote {path}{f', {more}' if more else ''}", err=True)


def write_page(path: str, page: Page) -> None:
    """A page with charts to a file, and a remark that says so. Raises OutputError."""
    from edgecv.report import write_html

    write_html(path, page)
    tell_written(path)


def command_line() -> str:
    """What was typed, without passwords, for a shell; what the environment adds goes in front."""
    from edgecv.media.live import without_password

    words = [without_password(word) for word in click.get_current_context().find_root().obj]
    given = (MODELS.name, ISA.name)
    assigned = [f"{name}={shlex.quote(os.environ[name])}" for name in given if name in os.environ]
    return " ".join([*assigned, shlex.join(["edgecv", *words])])


def forget_stdout() -> None:
    """What is left for stdout goes nowhere, so that nothing fails once more when the interpreter ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def write_json(path: str, value: Any) -> None:
    """One JSON document to a file, whole or not at all, or to stdout with "-"."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    if path == "-":
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            forget_stdout()
            raise OutputError(f"stdout: cannot be written: {error.strerror or error}") from error
        return
    from edgecv.media.atomic import write_whole

    write_whole(Path(path), text.encode())
