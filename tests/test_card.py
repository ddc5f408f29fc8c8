"""Cards: every field, and every way to get one wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import card as cards
from edgecv import zoo
from edgecv.errors import CardError

VALID: dict[str, Any] = {
    "schema": 1,
    "name": "parts",
    "aliases": ["parts-small"],
    "task": "detect",
    "format": "onnx",
    "files": [{"path": "parts.onnx", "url": "https://example.org/p", "sha256": "0" * 64, "bytes": 10}],
    "license": "MIT",
    "source": "somebody/parts",
    "inputs": [
        {
            "name": "images",
            "size_wh": [320, 240],
            "channels": 3,
            "color": "rgb",
            "resize": "stretch",
            "anchor": "top-left",
            "rounding": "floor",
            "pad_value": [1, 2, 3],
            "interpolation": "area",
            "mean": [1, 2, 3],
            "std": [4, 5, 6],
        }
    ],
    "head": {"type": "yolov8"},
    "labels": ["nut", "bolt"],
    "thresholds": {"conf": [0.3, 0.4], "iou": 0.5, "max_det": 20},
    "golden": {
        "file": {"path": "golden.npz", "sha256": "1" * 64, "bytes": 5},
        "blob_sha256": "2" * 64,
    },
}


def changed(path: str, value: Any) -> str:
    """VALID as JSON with one field set, named as in `inputs.0.color`."""
    card = json.loads(json.dumps(VALID))
    *parents, last = path.split(".")
    place = card
    for part in parents:
        place = place[int(part)] if part.isdigit() else place[part]
    place[int(last) if last.isdigit() else last] = value
    return json.dumps(card)


def test_every_field_is_read() -> None:
    card = cards.parse(json.dumps(VALID), origin="here")
    spec = card.image_input.blob_spec()
    assert (spec.size_wh, spec.color, spec.resize, spec.anchor) == (
        (320, 240),
        "rgb",
        "stretch",
        "top-left",
    )
    assert (spec.rounding, spec.interpolation) == ("floor", "area")
    assert (spec.mean, spec.std) == ((1, 2, 3), (4, 5, 6))
    assert spec.pad_values == (1, 2, 3)
    assert card.head is not None
    assert card.head.type == "yolov8"
    assert card.thresholds.conf == (0.3, 0.4)
    assert card.golden is not None
    assert card.golden.file.path == "golden.npz"


def test_round_trip() -> None:
    card = cards.parse(json.dumps(VALID), origin="here")
    assert cards.parse(cards.dumps(card), origin="again") == card


WRONG = {
    "unknown field": ("flavor", 1, "flavor"),
    "unknown field inside": ("inputs.0.flavor", 1, "flavor"),
    "schema of the future": ("schema", 2, "schema"),
    "wrong type": ("inputs.0.size_wh", "320x240", "size_wh"),
    "negative size": ("inputs.0.size_wh", [0, 240], "size_wh"),
    "unknown color": ("inputs.0.color", "cmyk", "color"),
    "color and channels": ("inputs.0.channels", 1, "channels"),
    "mean length": ("inputs.0.mean", [1, 2], "mean"),
    "zero std": ("inputs.0.std", [1, 0, 1], "std"),
    "pad length": ("inputs.0.pad_value", [1, 2], "pad_value"),
    "unknown head": ("head.type", "crystal-ball", "crystal-ball"),
    "unknown head field": ("head.flavor", 1, "flavor"),
    "no head": ("head", None, "head"),
    "head of another task": ("task", "classify", "yolov8 does not classify, which `task` says"),
    "head is a list": ("head", [1], "head"),
    "bad sha": ("files.0.sha256", "xyz", "sha256"),
    "absolute path": ("files.0.path", "/etc/passwd", "/etc/passwd"),
    "path upward": ("files.0.path", "../secret", "secret"),
    "label path upward": ("labels", "../../labels.txt", "labels.txt"),
    "conf over one": ("thresholds.conf", 1.5, "conf"),
    "conf count": ("thresholds.conf", [0.5], "conf"),
    "files and stages": ("stages", {"trunk": []}, "stages"),
    "bad name": ("name", "A B", "name"),
    "no inputs": ("inputs", [], "inputs"),
}


@pytest.mark.parametrize(("path", "value", "named"), WRONG.values(), ids=WRONG.keys())
def test_wrong_card_names_the_field(path: str, value: Any, named: str) -> None:
    if path == "stages":
        value = {"trunk": VALID["files"]}
    with pytest.raises(CardError, match=named) as caught:
        cards.parse(changed(path, value), origin="cards/parts/model.json")
    assert str(caught.value).startswith("cards/parts/model.json: ")
    assert "\n" not in str(caught.value)


NOT_CARDS = ["", "[]", "{", "null", '"x"', "[" * 100_000, b"\xff\xfe", '{"schema": 1}']


@pytest.mark.parametrize("text", NOT_CARDS)
def test_not_a_card(text: str | bytes) -> None:
    with pytest.raises(CardError, match="here"):
        cards.parse(text, origin="here")


LEAVES = st.none() | st.integers() | st.text()


@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_hostile_json_is_a_card_error(value: Any) -> None:
    with pytest.raises(CardError):
        cards.parse(json.dumps(value), origin="here")


def test_labels_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("nut\nbolt\n\n")
    (tmp_path / "model.json").write_text(changed("labels", "labels.txt"))
    assert cards.read(tmp_path / "model.json").labels == ("nut", "bolt")


def test_label_file_behind_a_link_out_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = tmp_path / "card"
    folder.mkdir()
    (folder / "labels.txt").symlink_to(tmp_path / "secret.txt")
    (folder / "model.json").write_text(changed("labels", "labels.txt"))
    with pytest.raises(CardError, match="leads out"):
        cards.read(folder / "model.json")


def test_missing_label_file(tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(changed("labels", "labels.txt"))
    with pytest.raises(CardError, match="cannot be read"):
        cards.read(tmp_path / "model.json")


def test_oversized_card(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    with path.open("wb") as file:
        file.truncate(cards.MAX_CARD_BYTES + 1)
    with pytest.raises(CardError, match="at most 4 MB"):
        cards.read(path)


OWN_CARDS = sorted(zoo.models_folder().glob("*/model.json"))


@pytest.mark.parametrize("path", OWN_CARDS, ids=lambda path: path.parent.name)
def test_cards_of_the_project(path: Path) -> None:
    card = cards.read(path)
    assert card.name == path.parent.name
    assert card.files
    assert all(file.url or (path.parent / file.path).is_file() for file in card.files)
    assert card.license
    assert card.labels
    assert card.golden is not None, "make one with tools/make_golden.py"
