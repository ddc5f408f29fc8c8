"""Class names of a YOLO dataset: classes.txt, or the `names` of its data.yaml.

`names` is a list, or a mapping from number to name. A name is the text that stands there: `no` and `1` are
names too.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from edgecv import extras
from edgecv.errors import DatasetError
from edgecv.evaluate.dataset import read_bounded

MAX_NAMES_BYTES = 1 << 20
# PyYAML takes seconds for a megabyte of brackets; the names of 20,000 classes fit into this.
MAX_YAML_BYTES = 1 << 19
MAX_NODES = 50_000
MAX_DEPTH = 16

_WRITE_LINES = "write classes.txt, one name a line"
_NEITHER = f"`names` is neither a list of texts nor a mapping from number to text; {_WRITE_LINES}"


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, by class index. Raises DatasetError, and MissingExtraError for YAML without PyYAML."""
    is_lines = path.suffix == ".txt"
    try:
        text = read_bounded(path, MAX_NAMES_BYTES if is_lines else MAX_YAML_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: expected text in UTF-8: {error}") from error
    names = _from_lines(text, path) if is_lines else _from_yaml(text, path)
    if not names:
        raise DatasetError(f"{path}: expected at least one class name, got none")
    return names


def _from_lines(text: str, path: Path) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:
        raise DatasetError(f"{path}:{lines.index('') + 1}: expected a class name, got an empty line")
    return tuple(lines)


def _from_yaml(text: str, path: Path) -> tuple[str, ...]:
    yaml = extras.require("yaml", "eval")
    node = _names_node(yaml, text, path)
    where = f"{path}:{node.start_mark.line + 1}"
    if isinstance(node, yaml.MappingNode):
        numbered = [(_text(yaml, key), _text(yaml, value)) for key, value in node.value]
        names = _in_order([number for number, _ in numbered], [name for _, name in numbered], where)
    elif isinstance(node, yaml.SequenceNode):
        names = [_text(yaml, item) for item in node.value]
    else:
        names = [] if node.value == "" else [None]
    found = tuple(name for name in names if name is not None)
    if len(found) != len(names):
        raise DatasetError(f"{where}: {_NEITHER}")
    if any(not name.strip() for name in found):
        raise DatasetError(f"{where}: `names` expected text, got an empty name; {_WRITE_LINES}")
    return found


def _in_order(numbers: Sequence[str | None], names: Sequence[str | None], where: str) -> list[str | None]:
    """The names of a mapping, by their numbers."""
    if any(number is None or not re.fullmatch(r"[0-9]{1,6}", number) for number in numbers):
        raise DatasetError(f"{where}: {_NEITHER}")
    by_number = {int(number or ""): name for number, name in zip(numbers, names, strict=True)}
    if by_number.keys() != set(range(len(names))):
        raise DatasetError(f"{where}: `names` expected the numbers 0 to {len(names) - 1}, each once")
    return [by_number[number] for number in range(len(names))]


def _names_node(yaml: ModuleType, text: str, path: Path) -> Any:
    """What stands at the top of a YAML text under `names`, as a node of PyYAML."""
    try:
        root = yaml.compose(text, _bounded_loader(yaml))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise DatasetError(f"{path}:{mark.line + 1}: cannot be read as YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise DatasetError(f"{path}: cannot be read as YAML: {str(error).splitlines()[0]}") from error
    entries = root.value if isinstance(root, yaml.MappingNode) else []
    found = [value for key, value in entries if key.value == "names"]
    if len(found) != 1:
        count = "none" if not found else f"{len(found)} of them"
        raise DatasetError(f"{path}: expected a `names` key, got {count}; {_WRITE_LINES}")
    return found[0]


def _text(yaml: ModuleType, node: Any) -> str | None:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def _bounded_loader(yaml: ModuleType) -> type:
    """A loader of text alone, which makes no objects, follows no alias and stops at a bound."""

    class Loader(yaml.BaseLoader):  # type: ignore[misc, name-defined]
        nodes = 0
        depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            self.nodes += 1
            self.depth += 1
            event = self.peek_event()
            if isinstance(event, yaml.AliasEvent) or event.anchor is not None:
                self.refuse("anchors and aliases are not read", event)
            if self.depth > MAX_DEPTH or self.nodes > MAX_NODES:
                self.refuse(f"over {MAX_DEPTH} levels or {MAX_NODES} values", event)
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def refuse(self, problem: str, event: Any) -> None:
            raise yaml.composer.ComposerError(None, None, problem, event.start_mark)

    return Loader
