"""Where output goes: data to stdout, everything else to stderr."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgecv.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress


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


def print_table(table: object) -> None:
    """A rich table on stdout, at the terminal's width, or wide enough for a file."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table)


def write_json(path: str, value: Any) -> None:
    """One JSON document to a file, whole or not at all, or to stdout with "-"."""
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"
    if path == "-":
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    target = Path(path)
    try:
        with tempfile.NamedTemporaryFile(
            "w", encoding="utf-8", dir=target.parent, prefix=f".{target.name}.", delete=False
        ) as file:
            file.write(text)
        Path(file.name).replace(target)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
