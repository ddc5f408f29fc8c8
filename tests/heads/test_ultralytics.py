"""Metadata of Ultralytics files: what is read, and what hostile text counts as absent."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.heads.ultralytics import MAX_LITERAL_CHARS, UltralyticsFacts, parse_metadata

YOLO11 = {
    "description": "Ultralytics YOLO11n model trained on coco.yaml",
    "author": "Ultralytics",
    "stride": "32",
    "task": "detect",
    "batch": "1",
    "imgsz": "[384, 640]",
    "names": "{0: 'person', 1: \"driver's hat\"}",
    "args": "{'batch': 1, 'half': False, 'nms': False}",
}

READ: dict[str, tuple[dict[str, str], UltralyticsFacts | None]] = {
    "yolo11": (
        YOLO11,
        UltralyticsFacts(("person", "driver's hat"), 32, "detect", (640, 384), end2end=False),
    ),
    "yolov5": (
        {"stride": "32", "names": "['a', 'b']"},
        UltralyticsFacts(("a", "b"), 32),
    ),
    "end2end": (
        {**YOLO11, "end2end": "True"},
        UltralyticsFacts(("person", "driver's hat"), 32, "detect", (640, 384), end2end=True),
    ),
    "nms-inside": (
        {"stride": "32", "names": "['a']", "args": "{'nms': True}"},
        UltralyticsFacts(("a",), 32, end2end=True),
    ),
    "square": (
        {"stride": "32", "names": "['a']", "imgsz": "320"},
        UltralyticsFacts(("a",), 32, None, (320, 320)),
    ),
    "numbers-as-names": ({"stride": "8", "names": "{0: 7, 1: 8}"}, UltralyticsFacts(("7", "8"), 8)),
    "any-order": ({"stride": "8", "names": "{1: 'b', 0: 'a'}"}, UltralyticsFacts(("a", "b"), 8)),
    "another-exporter": ({"author": "someone"}, None),
    "names-alone": ({"names": "['a']"}, None),
    "nothing": ({}, None),
}


@pytest.mark.parametrize(("metadata", "facts"), READ.values(), ids=READ)
def test_metadata_is_read(metadata: dict[str, str], facts: UltralyticsFacts | None) -> None:
    assert parse_metadata(metadata) == facts


BAD_NAMES: dict[str, Any] = {
    "empty": "",
    "code": "__import__('os').getcwd()",
    "call": "dict(a=1)",
    "truncated": "{0: 'person', 1:",
    "gap": "{0: 'a', 2: 'b'}",
    "text-keys": "{'0': 'a'}",
    "true-as-a-key": "{0: 'a', True: 'b'}",
    "nested": "{0: ['a']}",
    "none": "{0: None}",
    "unhashable": "{[]: 'a'}",
    "a-set": "{'a', 'b'}",
    "a-number": "7",
    "null-byte": "{0: 'a\x00'}\x00",
    "surrogate": "\ud800",
    "escape": "'\\d'",
    "huge-number": "{0: " + "9" * 10_000 + "}",
    "deep-list": "[" * 10_000 + "]" * 10_000,
    "deep-sum": "1+" * 100_000 + "1",
    "deep-sign": "-" * 100_000 + "1",
    "deep-attributes": "a" + ".a" * 50_000,
    "too-long": "['" + "a" * MAX_LITERAL_CHARS + "']",
    "not-text": 5,
}


@pytest.mark.parametrize("text", BAD_NAMES.values(), ids=BAD_NAMES)
def test_unreadable_text_counts_as_absent(text: Any) -> None:
    everywhere = dict.fromkeys(("names", "stride", "imgsz", "args", "end2end"), text)
    facts = parse_metadata(everywhere)
    assert facts is not None
    assert (facts.names, facts.task, facts.end2end) == ((), None, False)
    assert parse_metadata({**YOLO11, "names": text}) == UltralyticsFacts((), 32, "detect", (640, 384))


@pytest.mark.parametrize("text", ["0", "-32", "1e9", "999999999", "True", "[32]", "'32'", "None"])
def test_impossible_sizes_count_as_absent(text: str) -> None:
    facts = parse_metadata({**YOLO11, "stride": text, "imgsz": f"[{text}, 640]"})
    assert facts == UltralyticsFacts(("person", "driver's hat"), None, "detect", None)


def test_names_cannot_steer_a_terminal() -> None:
    facts = parse_metadata({"stride": "32", "names": repr(["\x1b[2Jcat\r\n", "x" * 5000, "猫"])})
    assert facts is not None
    assert facts.names == ("\ufffd[2Jcat\ufffd\ufffd", "x" * 200, "猫")


@given(st.dictionaries(st.sampled_from(["names", "stride", "task", "imgsz", "args", "end2end"]), st.text()))
def test_any_text_is_survived(metadata: dict[str, str]) -> None:
    facts = parse_metadata(metadata)
    assert facts is None or isinstance(facts, UltralyticsFacts)


@given(st.lists(st.text(st.characters(categories=["L", "N", "P"]), max_size=50), max_size=30))
def test_names_come_back(names: list[str]) -> None:
    facts = parse_metadata({"stride": "32", "names": str(dict(enumerate(names)))})
    assert facts is not None
    assert facts.names == tuple(names)
