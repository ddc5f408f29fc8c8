"""Where output goes: data to stdout, everything else to stderr."""

from __future__ import annotations

import os
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgecv.errors import OutputError

if TYPE_CHECKING:
    from rich.console import Console


@cache
def stderr() -> Console:
    """For progress bars and remarks."""
    from rich.console import Console

    return Console(stderr=True)


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
        os.replace(file.name, target)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror or error}") from error
