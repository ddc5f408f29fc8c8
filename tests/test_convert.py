"""convert(): what is written, that it loads, and that nothing of the user's is lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgecv
from edgecv import card as cards
from edgecv import zoo
from edgecv.convert import convert
from edgecv.errors import HeadError, InputError, ModelNotFoundError, OutputError
from edgecv.importers import NETWORK, darknet
from edgecv.options import LoadOptions
from tests.model_files import CLASSIFIER_CFG, COLORS, imported_classifier, write_darknet
from tests.networks import photo, tiny_classifier, tiny_yolov8


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_network_of_another_format(tmp_path: Path) -> None:
    cfg, out = write_darknet(tmp_path, "net"), tmp_path / "out"
    (tmp_path / "net.names").write_text("nut\nbolt\nwasher\n")
    out.mkdir()
    done = convert(cfg, out / "parts.onnx")
    assert names_in(out) == ["parts.model.json", "parts.onnx"]
    card = cards.read(out / "parts.model.json")
    assert card == done.card
    assert (card.format, card.labels, card.task) == ("onnx", ("nut", "bolt", "washer"), "detect")
    assert zoo.locate(card.files[0], out) == out / "parts.onnx"
    onnx.checker.check_model(str(out / "parts.onnx"), full_check=True)
    (network,) = done.networks
    assert (network.stage, network.parameters) == (NETWORK, 24 + 24 * 3 * 64)
    assert network.inputs == ("data: float32 (1, 3, 64, 64)",)
    assert (network.bytes, network.sha256) == (card.files[0].bytes, card.files[0].sha256)
    results = []
    for path in (cfg, out / "parts.onnx", out / "parts.model.json"):
        with edgecv.load(path, threads=1, conf=0.1) as detector:
            results.append(detector(photo()))
    assert len(results[0]) > 0
    for other in results[1:]:
        np.testing.assert_array_equal(results[0].xyxy, other.xyxy)
        np.testing.assert_array_equal(results[0].confidence, other.confidence)


def test_onnx_is_made_whole_and_gets_a_card(tmp_path: Path) -> None:
    source = tmp_path / "tiny.onnx"
    source.write_bytes(tiny_yolov8(initializers_as_inputs=True))
    done = convert(source, tmp_path / "clean.onnx")
    written = onnx.load(tmp_path / "clean.onnx")
    assert [value.name for value in written.graph.input] == ["images"]
    assert done.card.labels == ("nut", "bolt", "washer")
    assert done.assumptions == ()


def test_what_the_caller_states_is_in_the_card(tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net", CLASSIFIER_CFG)
    (tmp_path / "colors.txt").write_text("\n".join(COLORS))
    done = convert(cfg, tmp_path / "out.onnx", LoadOptions.of(labels=tmp_path / "colors.txt", mean=(1, 2, 3)))
    assert done.card.labels == COLORS
    assert done.card.image_input.mean == (3, 2, 1)


def test_a_second_conversion_replaces_the_first(tmp_path: Path) -> None:
    cfg = write_darknet(tmp_path, "net")
    first = convert(cfg, tmp_path / "net.onnx")
    card = json.loads((tmp_path / "net.model.json").read_text())
    card["thresholds"] = {"conf": 0.125}
    (tmp_path / "net.model.json").write_text(json.dumps(card))
    again = convert(cfg, tmp_path / "net.onnx")
    # The card lies beside the cfg as well, so that it is the cfg's card: what was changed in it stays.
    assert again.card == cards.parse(json.dumps(card), origin="here")
    assert again.networks == first.networks


def test_golden_tensors_stay_behind(tmp_path: Path) -> None:
    (tmp_path / "tiny.onnx").write_bytes(tiny_yolov8())
    done = convert(tmp_path / "tiny.onnx", tmp_path / "a.onnx")
    golden = {"file": {"path": "golden.npz", "sha256": "0" * 64, "bytes": 3}, "blob_sha256": "1" * 64}
    card = {**json.loads(cards.dumps(done.card)), "golden": golden}
    (tmp_path / "tiny.model.json").write_text(json.dumps(card))
    done = convert(tmp_path / "tiny.onnx", tmp_path / "b.onnx")
    assert done.card.golden is None
    assert any("golden" in remark for remark in done.remarks)


def two_stages(*_: Any, **__: Any) -> Any:
    """A reader that finds two networks."""
    one = imported_classifier()
    network = one.networks[NETWORK]
    networks = {"trunk": network, "roi": network}
    return replace(one, card=one.card.for_networks(networks), networks=networks)


def test_stages_become_a_file_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = write_darknet(tmp_path, "net")
    monkeypatch.setattr(darknet, "read", two_stages)
    out = tmp_path / "out"
    out.mkdir()
    done = convert(cfg, out / "two.onnx")
    assert names_in(out) == ["two.model.json", "two.roi.onnx", "two.trunk.onnx"]
    card = cards.read(out / "two.model.json")
    assert {name: [file.path for file in stage.files] for name, stage in card.stages.items()} == {
        "trunk": ["two.trunk.onnx"],
        "roi": ["two.roi.onnx"],
    }
    assert card.image_input.name == "data"
    assert card.stages["roi"].head is not None
    assert [network.stage for network in done.networks] == ["trunk", "roi"]


def put_card(path: Path) -> None:
    """A card by hand, which no conversion may replace."""
    card = cards.dumps(imported_classifier(format="darknet").card)
    path.write_text(card)


Prepare = Callable[[Path], None]
WRONG: dict[str, tuple[str, str, dict[str, Any], Prepare, type[Exception], str]] = {
    "no onnx": (
        "net.cfg",
        "out.pt",
        {},
        lambda _: None,
        InputError,
        r"to: expected a file name that ends in \.onnx",
    ),
    "no name": ("net.cfg", ".onnx", {}, lambda _: None, InputError, "to: expected a file name"),
    "no folder": ("net.cfg", "no/out.onnx", {}, lambda _: None, OutputError, "make the folder first"),
    "a folder": (
        "net.cfg",
        "dir.onnx",
        {},
        lambda f: (f / "dir.onnx").mkdir(),
        OutputError,
        "a folder of that name",
    ),
    "the network itself": (
        "tiny.onnx",
        "tiny.onnx",
        {},
        lambda _: None,
        InputError,
        "would replace the input",
    ),
    "the card by hand": (
        "net.cfg",
        "net.onnx",
        {},
        lambda f: put_card(f / "net.model.json"),
        InputError,
        r"net\.model\.json: the output would replace the input",
    ),
    "the labels": (
        "net.cfg",
        "x.onnx",
        {"labels": "x.model.json"},
        lambda f: (f / "x.model.json").write_text("a\nb\nc"),
        InputError,
        "would replace the input",
    ),
    "no network": ("no.cfg", "out.onnx", {}, lambda _: None, ModelNotFoundError, "no such file"),
    "no weights": (
        "net.cfg",
        "out.onnx",
        {"weights": "no.weights"},
        lambda _: None,
        ModelNotFoundError,
        "no such",
    ),
    "head in doubt": ("bare.onnx", "out.onnx", {}, lambda _: None, HeadError, "which head reads"),
}


@pytest.mark.parametrize(
    ("source", "to", "options", "prepare", "error", "message"), WRONG.values(), ids=WRONG
)
def test_refusals_leave_everything_as_it_was(
    tmp_path: Path,
    source: str,
    to: str,
    options: dict[str, str],
    prepare: Prepare,
    error: type[Exception],
    message: str,
) -> None:
    write_darknet(tmp_path, "net")
    (tmp_path / "tiny.onnx").write_bytes(tiny_yolov8())
    (tmp_path / "bare.onnx").write_bytes(tiny_classifier())
    prepare(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    asked = LoadOptions.of(**{key: tmp_path / name for key, name in options.items()})
    with pytest.raises(error, match=message) as caught:
        convert(tmp_path / source, tmp_path / to, asked)
    assert "\n" not in str(caught.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_write_that_fails_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cfg = write_darknet(tmp_path, "net")
    (tmp_path / "out.onnx").write_text("old network")
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.suffix == ".json":
            raise OSError(28, "No space left on device")
        return write(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="No space left"):
        convert(cfg, tmp_path / "out.onnx")
    assert names_in(tmp_path) == ["net.cfg", "net.weights", "out.onnx"]
    assert (tmp_path / "out.onnx").read_text() == "old network"
