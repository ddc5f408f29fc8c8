"""The model that this project trains: its files, what it finds, and the figures that are recorded for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import edgecv
from edgecv import backends, boxes, evaluate, scenes, zoo
from edgecv.types import Detections

pytest.importorskip("cv2", reason="generated scenes need the extra opencv")

FOLDER = zoo.models_folder() / "parts-nano"
STATIC, DYNAMIC = FOLDER / "parts-nano.onnx", FOLDER / "parts-nano-dynamic.onnx"
USABLE = backends.usable()
# Neither trained on nor measured by the training script.
SEED = 9_000_000
SCENES = 40
# Of the recorded AP on 1000 scenes; 40 scenes scatter by about half of it.
LEAST_AP = 0.70


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> evaluate.Dataset:
    folder = tmp_path_factory.mktemp("parts")
    settings = scenes.SceneSettings(count=SCENES, seed=SEED)
    return evaluate.open_dataset(scenes.write_coco(folder, scenes.generate(settings)).annotations)


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    report: dict[str, Any] = json.loads((FOLDER / "training.json").read_text())
    return report


def test_recorded_figures(recorded: dict[str, Any]) -> None:
    assert recorded["held_out"]["AP"] >= 0.75
    assert recorded["held_out"]["AP50"] >= 0.95
    assert recorded["held_out"]["images"] >= 1000
    assert recorded["parameters"] <= 500_000


def test_model_card_states_the_recorded_figures(recorded: dict[str, Any]) -> None:
    text = (FOLDER / "README.md").read_text()
    rows = {"held-out scenes": recorded["held_out"], **recorded["robustness"]}
    for name, figures in rows.items():
        assert f"| {name} | {figures['AP']:.3f} | {figures['AP50']:.3f} |" in text


@pytest.mark.parametrize("path", [STATIC, DYNAMIC], ids=lambda path: path.stem)
def test_file(path: Path) -> None:
    assert path.stat().st_size <= 2_000_000
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 13)]
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    assert sum(np.prod(tensor.dims) for tensor in weights.values() if len(tensor.dims) > 1) <= 500_000
    channels = [weights[node.input[1]].dims[0] for node in model.graph.node if node.op_type == "Conv"]
    predictions = {len(scenes.CLASSES), 4, 1}
    assert {count for count in channels if count % 16} <= predictions
    assert channels.count(4) == 3


def test_static_and_dynamic_are_one_network() -> None:
    with edgecv.compile(STATIC) as static, edgecv.compile(DYNAMIC) as dynamic:
        assert static.inputs[0].shape == (1, 3, 320, 320)
        assert [isinstance(size, int) for size in dynamic.inputs[0].shape] == [False, True, False, False]
        blob = np.random.default_rng(1).random((1, 3, 320, 320), np.float32)
        expected = static.run({"images": blob})["output"]
        found = dynamic.run({"images": blob}, replan=True)["output"]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
        wide = dynamic.run({"images": np.zeros((2, 3, 64, 96), np.float32)}, replan=True)["output"]
        assert wide.shape == (2, 8 * 12 + 4 * 6 + 2 * 3, 8)


@pytest.mark.parametrize("backend", USABLE)
def test_ap_on_new_scenes(dataset: evaluate.Dataset, backend: str) -> None:
    pytest.importorskip("hotcoco", reason="AP needs the extra eval")
    with edgecv.load("parts-nano", backend=backend, **evaluate.SETTINGS) as detector:
        report = evaluate.evaluate(detector, dataset)
    assert not report.failures
    assert report.AP is not None
    assert report.AP >= LEAST_AP
    assert report.class_mapping == "name"


def test_backends_find_the_same() -> None:
    if len(USABLE) < 2:
        pytest.skip(f"needs two usable backends; there is {', '.join(USABLE) or 'none'}")
    scene = scenes.make_scene(SEED)
    found = []
    for backend in USABLE:
        with edgecv.load("parts-nano", backend=backend) as detector:
            found.append(detector(scene.image))
    for other in found[1:]:
        np.testing.assert_array_equal(other.class_id, found[0].class_id)
        np.testing.assert_allclose(other.xyxy, found[0].xyxy, atol=0.05)
        np.testing.assert_allclose(other.confidence, found[0].confidence, atol=1e-3)


def hits(found: Detections, scene: scenes.Scene) -> int:
    """Parts of the scene that a detection of their class covers."""
    truth = np.array([part.xyxy for part in scene.parts], np.float32).reshape(-1, 4)
    classes = np.array([part.class_id for part in scene.parts])
    same = (boxes.iou(truth, found.xyxy) >= 0.5) & (classes[:, None] == found.class_id)
    return int(same.any(1).sum())


@pytest.mark.parametrize("imgsz", [(320, 320), (640, 480)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_dynamic_export_at_other_sizes(imgsz: tuple[int, int]) -> None:
    scene = next(scenes.make_belt(3, 1))
    with edgecv.load(DYNAMIC, imgsz=imgsz) as detector:
        found = detector(scene.image)
    whole = [part for part in scene.parts if part.visible > 0.6]
    assert len(whole) >= 3
    assert hits(found, scene) >= 0.8 * len(whole)


def test_batch_equals_single_calls() -> None:
    frames = [scenes.make_scene(SEED + i).image for i in range(3)]
    with edgecv.load("parts-nano") as detector:
        singly = [detector(frame) for frame in frames]
        together = detector.batch(frames)
    for one, other in zip(singly, together, strict=True):
        np.testing.assert_array_equal(one.xyxy, other.xyxy)
        np.testing.assert_array_equal(one.class_id, other.class_id)
    assert sum(map(len, singly)) > 0


def test_an_empty_tray_is_mostly_empty() -> None:
    spec = scenes.SceneSpec(parts=(0, 0), clutter=0)
    with edgecv.load("parts-nano") as detector:
        found = [len(detector(scenes.make_scene(SEED + i, spec).image)) for i in range(12)]
    assert sum(found) <= 1
