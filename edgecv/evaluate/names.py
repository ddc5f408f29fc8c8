"""Class names of a YOLO dataset: classes.txt, or the `names` of its data.yaml.

Of YAML only what such files use under `names` is read: a list or a mapping from number to name, in
block or in flow style, with plain or quoted names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from edgecv.errors import DatasetError
from edgecv.evaluate.dataset import read_bounded

MAX_NAMES_BYTES = 1 << 20

_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'"""
# Each part can end at one place only, so that no hostile text makes the search quadratic.
_BLOCK_ITEM = re.compile(rf"(?:-|(\d{{1,6}})\s*:)\s+({_QUOTED}|[^\s\"'\[\]{{}}&*!|>%@`#].*)")
_FLOW_ITEM = re.compile(
    rf"\s*(?:(\d{{1,6}})\s*:\s*)?((?:{_QUOTED})(?=\s*(?:,|$))|[^\s,\"'\[\]{{}}][^,\[\]{{}}]*)\s*(?:,|$)"
)
# A quote opens a name only where a name can start: the one in "men's" does not.
_COMMENT = re.compile(rf"((?<![^\s,\[{{])(?:{_QUOTED}))|(?:^|\s)#.*")

# The number of a mapping's item, None in a list, and the text of its name.
Item = tuple[str | None, str]


def read_names(path: Path) -> tuple[str, ...]:
    """Class names, by class index. Raises DatasetError."""
    try:
        text = read_bounded(path, MAX_NAMES_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: expected text in UTF-8: {error}") from error
    names = _from_lines(text, path) if path.suffix == ".txt" else _from_yaml(text, path)
    if not names:
        raise DatasetError(f"{path}: expected at least one class name, got none")
    return names


def _from_lines(text: str, path: Path) -> tuple[str, ...]:
    lines = [line.strip() for line in text.rstrip().splitlines()]
    if "" in lines:
        raise DatasetError(f"{path}:{lines.index('') + 1}: expected a class name, got an empty line")
    return tuple(lines)


def _from_yaml(text: str, path: Path) -> tuple[str, ...]:
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if re.match(r"names\s*:", line)), None)
    if start is None:
        raise DatasetError(f"{path}: expected a `names` key, got none; write classes.txt, one name a line")
    body = [_without_comment(lines[start].partition(":")[2])]
    for line in lines[start + 1 :]:
        if re.match(r"[^\s#\-\]}]", line):
            break
        body.append(_without_comment(line))
    inline = body[0].strip()
    items = _flow_items(" ".join(body).strip()) if inline else _block_items(body[1:])
    if items is None:
        raise DatasetError(
            f"{path}:{start + 1}: `names` is neither a list nor a mapping from number to name; "
            "write classes.txt, one name a line"
        )
    numbered = {int(number): value for number, value in items if number is not None}
    if not numbered:
        return tuple(_scalar(value) for _, value in items)
    if numbered.keys() != set(range(len(items))):
        raise DatasetError(
            f"{path}:{start + 1}: `names` expected the numbers 0 to {len(items) - 1}, each once"
        )
    return tuple(_scalar(numbered[number]) for number in range(len(items)))


def _without_comment(line: str) -> str:
    return _COMMENT.sub(lambda match: match[1] or "", line)


def _block_items(lines: list[str]) -> list[Item] | None:
    matches = [_BLOCK_ITEM.fullmatch(line.strip()) for line in lines if line.strip()]
    return _uniform(matches)


def _flow_items(text: str) -> list[Item] | None:
    brackets = text[:1] + text[-1:]
    if brackets not in ("[]", "{}"):
        return None
    inner, position, matches = text[1:-1].rstrip().removesuffix(","), 0, []
    while position < len(inner):
        match = _FLOW_ITEM.match(inner, position)
        if match is None:
            return None
        matches.append(match)
        position = match.end()
    items = _uniform(matches)
    if items and (items[0][0] is None) != (brackets == "[]"):
        return None
    return items


def _uniform(matches: Sequence[re.Match[str] | None]) -> list[Item] | None:
    """(number or None, scalar) of each item; None unless all are items and of one kind."""
    items = [(match[1], match[2].strip()) for match in matches if match is not None]
    if len(items) != len(matches) or len({number is None for number, _ in items}) > 1:
        return None
    return items


def _scalar(text: str) -> str:
    if text.startswith('"'):
        try:
            return str(json.loads(text))
        except ValueError:
            return text[1:-1]
    if text.startswith("'"):
        return text[1:-1].replace("''", "'")
    return text
