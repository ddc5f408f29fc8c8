"""Darknet's cfg: `[section]` lines, each followed by `key = value` lines.

As Darknet reads it: blanks anywhere in a line do not count, a line that starts with `#` or `;` is a
comment, and so is what follows a `#`. Unlike Darknet, what cannot be understood is an error that names
its line, and no number is taken without a range.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from edgecv.errors import ModelFileError, ModelNotFoundError

# The largest networks in use have some 400 layers and 30 KB of cfg.
MAX_CFG_BYTES = 1 << 20
MAX_SECTIONS = 2001

# Other spellings of a section's name (`string_to_layer_type` in Darknet's parser.c).
_ALIASES = {
    "network": "net",
    "conv": "convolutional",
    "conn": "connected",
    "max": "maxpool",
    "avg": "avgpool",
    "local_avg": "local_avgpool",
    "lrn": "normalization",
    "soft": "softmax",
    "silence": "empty",
    "reorg_old": "reorg",
}
_INTEGER = re.compile(r"[+-]?[0-9]{1,15}")
_SHOWN = 40
# Numbers become float32.
_LARGEST = 3e38


class _Option(NamedTuple):
    value: str
    line: int


class Section:
    """One section: its kind, where it stands, and its options, which are read by type and range.

    kind: the section's name without brackets, in its usual spelling. line: of its head, from 1.
    """

    def __init__(self, origin: str, kind: str, line: int, index: int) -> None:
        self.kind = kind
        self.line = line
        self._origin = origin
        self._index = index
        self._options: dict[str, _Option] = {}
        self._used: set[str] = set()
        self._conflicts: dict[str, _Option] = {}

    @property
    def label(self) -> str:
        """The section as messages name it; layers are counted as Darknet does, from 0 after [net]."""
        return f"[{self.kind}]" if self._index < 0 else f"layer {self._index} [{self.kind}]"

    @property
    def name(self) -> str:
        """The layer's name in the graph: its kind and its number."""
        return f"{self.kind}_{self._index}"

    def error(self, problem: str, key: str | None = None) -> ModelFileError:
        """The error to raise for this section, at the line of `key` where that is given."""
        line = self._options[key].line if key in self._options else self.line
        named = f"`{key}`: " if key else ""
        return ModelFileError(f"{self._origin}, line {line}: {self.label}: {named}{problem}")

    def add(self, key: str, value: str, line: int) -> None:
        """Note an option. Of several with one key Darknet reads the first and OpenCV the last."""
        first = self._options.setdefault(key, _Option(value, line))
        if first.value != value:
            self._conflicts.setdefault(key, _Option(value, line))

    def has(self, key: str) -> bool:
        """Whether the option is stated."""
        return key in self._options

    def unread(self) -> tuple[tuple[str, int], ...]:
        """(key, line) of the options that nothing has asked for."""
        return tuple((key, option.line) for key, option in self._options.items() if key not in self._used)

    def text(self, key: str, default: str | None = None) -> str:
        """The value as text. Raises ModelFileError where it is missing and has no default."""
        self._used.add(key)
        option = self._options.get(key)
        if option is None:
            if default is None:
                raise self.error(f"`{key}` is missing")
            return default
        if key in self._conflicts:
            other = self._conflicts[key]
            raise self.error(
                f"stated twice, {shown(option.value)} here and {shown(other.value)} in line {other.line}: "
                "keep one",
                key,
            )
        return option.value

    def integer(self, key: str, default: int | None, low: int, high: int) -> int:
        """A whole number from `low` to `high`."""
        if not self.has(key) and default is not None:
            self._used.add(key)
            return default
        return self._integer(key, self.text(key), low, high)

    def flag(self, key: str, default: int = 0) -> bool:
        """Whether a number is other than 0."""
        return self.number(key, default) != 0

    def number(self, key: str, default: float) -> float:
        """A number that a float32 can hold."""
        self._used.add(key)
        return self._number(key, self.text(key)) if self.has(key) else default

    def integers(self, key: str, low: int, high: int) -> tuple[int, ...]:
        """Whole numbers between commas."""
        return tuple(self._integer(key, part, low, high) for part in self._parts(key))

    def numbers(self, key: str) -> tuple[float, ...]:
        """Numbers between commas."""
        return tuple(self._number(key, part) for part in self._parts(key))

    def refuse(self, keys: Sequence[str], why: str) -> None:
        """Raise ModelFileError where one of these options is stated and not 0."""
        for key in keys:
            if self.has(key) and self.flag(key):
                raise self.error(f"{shown(self.text(key))} is not supported: {why}", key)

    def _parts(self, key: str) -> list[str]:
        parts = self.text(key).split(",")
        return parts[:-1] if len(parts) > 1 and not parts[-1] else parts

    def _integer(self, key: str, text: str, low: int, high: int) -> int:
        if not _INTEGER.fullmatch(text) or not low <= int(text) <= high:
            raise self.error(f"expected a whole number from {low} to {high}, got {shown(text)}", key)
        return int(text)

    def _number(self, key: str, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not abs(value) <= _LARGEST:
            raise self.error(f"expected a number, got {shown(text)}", key)
        return value


def shown(text: str) -> str:
    """Text of a file as a message can hold it: short, quoted, nothing that moves a cursor."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def read_cfg(path: Path) -> list[Section]:
    """The sections of a cfg, the first of them [net].

    Raises ModelNotFoundError, or ModelFileError that names the line.
    """
    if not path.is_file():
        raise ModelNotFoundError(f"{path}: no such file")
    try:
        size = path.stat().st_size
        if size > MAX_CFG_BYTES:
            raise ModelFileError(
                f"{path}: {size} bytes: a cfg has at most {MAX_CFG_BYTES >> 20} MB; this is not one"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    if b"\0" in data:
        raise ModelFileError(f"{path}: not a Darknet cfg: it is not text")
    return parse(data.decode("utf-8-sig", errors="replace"), origin=str(path))


def parse(text: str, *, origin: str) -> list[Section]:
    """The sections of a cfg's text; see `read_cfg`. origin: for messages."""
    sections: list[Section] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = "".join(raw.split())
        if line.startswith(";"):
            continue
        line = line.partition("#")[0]
        if not line:
            continue
        if line.startswith("["):
            sections.append(_head(line, number, len(sections) - 1, origin))
            continue
        key, equals, value = line.partition("=")
        if not sections:
            raise ModelFileError(
                f"{origin}, line {number}: expected [net] first, got {shown(line)}: not a Darknet cfg"
            )
        if not (key and equals and value):
            raise ModelFileError(
                f"{origin}, line {number}: {sections[-1].label}: expected `key = value`, got {shown(line)}"
            )
        sections[-1].add(key, value, number)
    if not sections or sections[0].kind != "net":
        first = f"line {sections[0].line}: got [{sections[0].kind}]" if sections else "it has no sections"
        raise ModelFileError(f"{origin}: not a Darknet cfg: expected [net] first, {first}")
    if len(sections) == 1:
        raise ModelFileError(f"{origin}: the network has no layers after [net]")
    return sections


def _head(line: str, number: int, index: int, origin: str) -> Section:
    kind = line[1:-1]
    if not line.endswith("]") or not re.fullmatch(r"[A-Za-z0-9_]{1,40}", kind):
        raise ModelFileError(f"{origin}, line {number}: expected a [section], got {shown(line)}")
    if index >= MAX_SECTIONS - 1:
        raise ModelFileError(f"{origin}, line {number}: over {MAX_SECTIONS - 1} layers: not a network in use")
    return Section(origin, _ALIASES.get(kind, kind), number, index)
