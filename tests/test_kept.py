"""What was compiled before: a second start reads no network, and gives the same."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgecv
from edgecv import api, kept
from edgecv.backends import BACKENDS, cache, usable
from edgecv.backends.simd import CompiledNetwork, CompiledStage
from edgecv.errors import InputError, UnsupportedOperatorError
from tests.model_files import write_darknet
from tests.networks import photo, quantized, tiny_classifier, tiny_yolov8

FRAME = photo(120, 80)


def entries() -> list[cache.Entry]:
    found = cache.Cache.default()
    assert found is not None
    return found.entries()


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8())
    return path


def load(model: Any, **options: Any) -> Any:
    return edgecv.load(model, **{"backend": "simd", "threads": 1, "conf": 0.01, **options})


def is_kept(pipeline: Any) -> bool:
    """Whether it runs plans out of the cache."""
    kinds = {type(session.compiled) for session in pipeline.sessions.values()}
    assert len(kinds) == 1
    return kinds == {CompiledStage}


START = """
import sys
import numpy as np
import edgecv
with edgecv.load(sys.argv[1], backend="simd", threads=1, conf=0.01) as detector:
    # Without numpy.random, which imports hashlib.
    found = detector((np.arange(80 * 120 * 3) * 2654435761 % 251).astype(np.uint8).reshape(80, 120, 3))
slow = ("onnx", "onnx_ir", "google.protobuf", "edgecv.importers")
print(len(found), [name for name in slow if name in sys.modules])
"""


def test_a_second_start_imports_no_reader(network: Path) -> None:
    outputs = [
        subprocess.run(
            [sys.executable, "-c", START, str(network)], capture_output=True, text=True, check=True
        )
        for _ in range(2)
    ]
    first, second = (done.stdout.strip() for done in outputs)
    assert "'onnx_ir'" in first
    assert second.endswith(" []")
    assert first.split()[0] == second.split()[0] != "0"


def test_a_second_start_gives_the_same(network: Path) -> None:
    with load(network) as detector:
        assert not is_kept(detector)
        found = detector(FRAME)
        placement, memory, card = detector.placement, detector.memory, detector.card
        raw = detector.inspect(FRAME).outputs
    (entry,) = entries()
    with load(network) as detector:
        assert is_kept(detector)
        assert detector(FRAME) == found
        assert (detector.placement, detector.memory, detector.card) == (placement, memory, card)
        again = detector.inspect(FRAME).outputs
        assert all(np.array_equal(again[name], raw[name]) for name in raw)
    assert [e.key for e in entries()] == [entry.key]
    told = cache.contents_of(entry)
    assert told is not None
    assert (told.source, told.backend, told.kind) == (str(network), "simd", "plan")


# What is changed before the second start, and whether the plan still serves.
CHANGES: dict[str, tuple[Callable[[Path], dict[str, Any]], bool]] = {
    "nothing": (lambda _: {}, True),
    "settings": (lambda _: {"conf": 0.5, "iou": 0.3, "max_det": 7}, True),
    "warm-up": (lambda _: {"warmup": False}, True),
    "list of backends": (lambda _: {"backend": "simd,opencv"}, True),
    "any backend": (lambda _: {"backend": None}, True),
    "threads": (lambda _: {"threads": 2}, False),
    "precision": (lambda _: {"precision": "fp32"}, False),
    "no cache": (lambda _: {"cache": False}, False),
    "weights": (lambda path: path.write_bytes(tiny_yolov8(seed=3)) and {}, False),
    "a card": (lambda path: with_card(path), False),
    "labels": (lambda path: with_labels(path), False),
    "mean": (lambda _: {"mean": (1, 2, 3)}, False),
    "version": (lambda _: {"_version": "0"}, False),
}


def with_card(path: Path) -> dict[str, Any]:
    path.with_name("tiny.model.json").write_text(
        json.dumps(
            {
                "schema": 2,
                "name": "tiny",
                "task": "detect",
                "format": "onnx",
                "inputs": [{"name": "images", "size_wh": [64, 64], "std": [255, 255, 255]}],
                "head": {"type": "yolov8", "output": "output0"},
                "labels": ["a", "b", "c"],
            }
        )
    )
    return {}


def with_labels(path: Path) -> dict[str, Any]:
    names = path.with_name("names.txt")
    names.write_text("x\ny\nz\n")
    return {"labels": names}


@pytest.mark.parametrize("change", CHANGES)
def test_what_a_plan_serves_for(network: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    load(network).close()
    make, serves = CHANGES[change]
    options = make(network)
    version = options.pop("_version", None)
    if version is not None:
        monkeypatch.setattr(type(BACKENDS["simd"]), "version", lambda _: version)
    with load(network, **options) as detector:
        assert is_kept(detector) == serves
        found = detector(FRAME)
    with load(network, **{**options, "cache": False}) as detector:
        assert detector(FRAME) == found
    assert len(entries()) == (1 if serves or change == "no cache" else 2)


def test_the_same_files_elsewhere_are_the_same(network: Path, tmp_path: Path) -> None:
    load(network).close()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    other = elsewhere / network.name
    other.write_bytes(network.read_bytes())
    with load(other) as detector:
        assert is_kept(detector)


def test_a_damaged_entry_is_made_again_with_a_remark(network: Path, caplog: pytest.LogCaptureFixture) -> None:
    with load(network) as detector:
        found = detector(FRAME)
    (entry,) = entries()
    whole = Path(entry.path).read_bytes()
    # The beginning, a card, a table, weights, the end.
    places = [10, whole.index(b'"labels"'), len(whole) // 3, 2 * len(whole) // 3, len(whole) - 3]
    for place in places:
        data = bytearray(whole)
        data[place] ^= 0x10
        Path(entry.path).write_bytes(data)
        caplog.clear()
        with caplog.at_level(logging.WARNING, "edgecv"), load(network) as detector:
            assert not is_kept(detector)
            assert detector(FRAME) == found
        (line,) = [record.getMessage() for record in caplog.records if "made again" in record.getMessage()]
        assert str(network) in line
        assert Path(entry.path).read_bytes() == whole
        with load(network) as detector:
            assert is_kept(detector)


@pytest.mark.parametrize("dynamic", [False, True], ids=["batch", "batch and size"])
def test_other_shapes_are_compiled_when_they_are_asked_for(tmp_path: Path, dynamic: bool) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8(batch="batch", dynamic=dynamic))
    frames = [photo(120, 80, seed) for seed in range(3)]
    with load(path, cache=False) as detector:
        singles, together = [detector(frame) for frame in frames], detector.batch(frames)
    load(path).close()
    with load(path) as detector:
        assert is_kept(detector)
        assert str(detector.session.inputs[0]).startswith("images: float32 (batch, 3")
        assert [detector(frame) for frame in frames] == singles
        assert detector.batch(frames) == together
        with pytest.raises(InputError, match="got shape"):
            detector.session.prepare({"images": (1, 4, 64, 64)})
    if dynamic:
        with load(path, imgsz=(96, 32)) as detector:
            assert not is_kept(detector)
        with load(path, imgsz=(96, 32)) as detector:
            assert is_kept(detector)
            assert detector.blob_wh == (96, 32)


def test_files_that_changed_are_not_those_of_the_plan(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8(batch="batch"))
    load(path).close()
    with load(path) as detector:
        assert is_kept(detector)
        path.write_bytes(tiny_yolov8(batch="batch", seed=3))
        with pytest.raises(InputError, match="they have changed since: load it anew"):
            detector.batch([FRAME, FRAME])
        detector(FRAME)


def test_what_was_assumed_is_told_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cfg = write_darknet(tmp_path, "net")
    told = []
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.INFO, "edgecv"), load(cfg) as detector:
            detector(FRAME)
            was_kept = is_kept(detector)
        told.append([record.getMessage() for record in caplog.records])
    assert told[0]
    assert told[1] == told[0]
    assert was_kept


def test_a_model_of_two_stages(tmp_path: Path) -> None:
    from tests.engine.test_engine_saved_stages import write_staged

    card = write_staged(tmp_path, rois="n")
    with load(card) as detector:
        found = detector(FRAME)
    with load(card) as detector:
        assert is_kept(detector)
        assert list(detector.sessions) == ["trunk", "roi"]
        assert detector(FRAME) == found


def test_names_of_the_zoo() -> None:
    with edgecv.load("parts-nano", backend="simd", threads=1) as detector:
        found = detector(FRAME)
    with edgecv.load("parts", backend="simd", threads=1) as detector:
        assert is_kept(detector)
        assert detector(FRAME) == found


# ---- what is not kept


def test_a_run_of_another_backend_is_not_kept(network: Path) -> None:
    others = [name for name in usable() if name != "simd"]
    if not others:
        pytest.skip("no other backend is usable here")
    load(network, backend=others[0]).close()
    load(network, backend=f"{others[0]},simd").close()
    assert entries() == []


def test_a_fallback_to_simd_is_not_kept(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = next(name for name in BACKENDS if name != "simd")
    monkeypatch.setattr(BACKENDS[first], "unavailable", lambda: "gone")
    with load(network, backend=f"{first},simd") as detector:
        assert detector.placement.fallbacks == ((first, f"backend {first} is not usable here: gone"),)
    assert entries() == []


def test_a_fallback_from_simd_is_not_kept(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    others = [name for name in usable() if name != "simd"]
    if not others:
        pytest.skip("no other backend is usable here")

    def refuse(*_: Any) -> Any:
        raise UnsupportedOperatorError("node 'a' (B): no")

    monkeypatch.setattr(CompiledNetwork, "plan", refuse)
    for _ in range(2):
        with load(network, backend=f"simd,{others[0]}") as detector:
            assert detector.placement.backend == others[0]
    assert entries() == []


def test_weights_in_other_files_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    model = onnx.load_from_string(tiny_yolov8())
    onnx.save(model, path, save_as_external_data=True, location="tiny.bin", size_threshold=0)
    load(path).close()
    with load(path) as detector:
        assert not is_kept(detector)
    assert entries() == []


def test_files_that_change_while_they_are_compiled(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = api.resolve

    def meanwhile(*args: Any, **options: Any) -> Any:
        loaded = resolve(*args, **options)
        network.write_bytes(tiny_yolov8(seed=5))
        return loaded

    monkeypatch.setattr(api, "resolve", meanwhile)
    load(network).close()
    assert entries() == []


def test_a_cache_that_is_switched_off(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECV_CACHE_BYTES", "0")
    load(network).close()
    with load(network) as detector:
        assert not is_kept(detector)


def test_what_is_wrong_stays_wrong(network: Path) -> None:
    load(network).close()
    with pytest.raises(InputError, match="a model to detect, not to classify"):
        load(network, task="classify")
    with pytest.raises(InputError, match="fixed at 64x64"):
        load(network, imgsz=96)
    network.write_bytes(b"nothing")
    with pytest.raises(edgecv.errors.ModelFileError, match="not an ONNX model"):
        load(network)


# ---- networks without a card


def test_a_bare_network(network: Path) -> None:
    blob = {"images": np.random.default_rng(0).random((1, 3, 64, 64), np.float32)}
    for source in (network, network.read_bytes()):
        with edgecv.compile(source, backend="simd", threads=1) as session:
            assert isinstance(session.compiled, CompiledNetwork)
            expected = session.run(blob)["output0"]
        with edgecv.compile(source, backend="simd", threads=1) as session:
            assert isinstance(session.compiled, CompiledStage)
            assert np.array_equal(session.run(blob)["output0"], expected)
            assert [spec.shape for spec in session.outputs] == [(1, 7, 84)]
        with edgecv.compile(source, backend="simd", threads=1, cache=False) as session:
            assert isinstance(session.compiled, CompiledNetwork)
    assert len(entries()) == 2


def test_a_bare_network_of_any_size_is_compiled_when_it_is_prepared(tmp_path: Path) -> None:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8(batch="batch", dynamic=True))
    with edgecv.compile(path, backend="simd", threads=1) as session:
        session.prepare({"images": (1, 3, 64, 64)})
    assert entries() == []


def test_what_is_stored_is_told_of_a_kept_plan(tmp_path: Path) -> None:
    path = tmp_path / "quantized.onnx"
    path.write_bytes(quantized())
    for _ in range(2):
        with edgecv.compile(path, backend="simd", threads=1) as session:
            assert (session.placement.stored, session.placement.precision) == ("int8", "fp32")
            compiled = session.compiled
    assert isinstance(compiled, CompiledStage)


def test_keys_tell_networks_from_models(tmp_path: Path) -> None:
    path = tmp_path / "colors.onnx"
    path.write_bytes(tiny_classifier())
    options = edgecv.LoadOptions(backend="simd", threads=1)
    asked = edgecv.backends.CompileOptions(threads=1)
    places = [kept.of_model(path, options, asked), kept.of_network(path, options, asked)]
    assert all(place is not None and place.find() is None for place in places)
    assert len({place._key for place in places if place is not None}) == 2
