"""edgecv scenes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgecv import evaluate, scenes
from edgecv.scenes import BeltSpec, Scene, SceneSpec
from edgecv.types import Detections
from tests.cli.conftest import Result

Run = Callable[..., Result]

SMALL = ("--size", "160x120", "--part-px", "16,60")
SPEC = SceneSpec(size_wh=(160, 120), part_px=(16, 60))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def pictures(folder: Path) -> list[np.ndarray]:
    return [cv2.imread(str(image.path)) for image in evaluate.open_dataset(folder).images]


def test_a_dataset_is_written(edgecv: Run, tmp_path: Path) -> None:
    out = tmp_path / "new" / "set"
    result = edgecv("scenes", "--count", 3, "--seed", 5, *SMALL, "--out", out)
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith("3 pictures, ")
    assert f"wrote {out / 'instances.json'}" in result.out
    assert names(out) == ["000000.png", "000001.png", "000002.png", "instances.json"]
    for seed, picture in enumerate(pictures(out), 5):
        np.testing.assert_array_equal(picture, scenes.make_scene(seed, SPEC).image)


def test_json(edgecv: Run, tmp_path: Path) -> None:
    result = edgecv("scenes", "--count", 2, *SMALL, "--parts", 4, "--out", tmp_path, "--json", "-")
    assert result.code == 0
    found = result.json
    written = json.loads((tmp_path / "instances.json").read_text())
    assert found["annotations"] == str(tmp_path / "instances.json")
    assert found["images"] == 2
    assert sum(found["parts"].values()) == len(written["annotations"]) > 0
    assert found["settings"]["count"] == 2
    assert found["settings"]["spec"]["parts"] == [4, 4]


def settings_of(monkeypatch: pytest.MonkeyPatch, edgecv: Run, out: Path, *typed: object) -> Any:
    """The settings that the verb renders by."""
    asked = []

    def none(settings: scenes.SceneSettings) -> Iterator[Scene]:
        asked.append(settings)
        return iter(())

    monkeypatch.setattr(scenes, "generate", none)
    assert edgecv("scenes", "--out", out, *typed).code == 0
    return asked[0]


TYPED: dict[str, tuple[tuple[object, ...], scenes.SceneSettings]] = {
    "nothing": ((), scenes.SceneSettings()),
    "size": (("--size", "640x480"), scenes.SceneSettings(spec=SceneSpec(size_wh=(640, 480)))),
    "square": (("--size", "256"), scenes.SceneSettings(spec=SceneSpec(size_wh=(256, 256)))),
    "parts": (("--parts", "3,30"), scenes.SceneSettings(spec=SceneSpec(parts=(3, 30)))),
    "sizes": (("--part-px", "20,90"), scenes.SceneSettings(spec=SceneSpec(part_px=(20, 90)))),
    "litter": (("--litter", "2.5"), scenes.SceneSettings(spec=SceneSpec(clutter=2.5))),
    "tilt": (("--tilt", "0"), scenes.SceneSettings(spec=SceneSpec(max_tilt_deg=0))),
    "defects": (("--defects", "0.5"), scenes.SceneSettings(spec=SceneSpec(defect_rate=0.5))),
    "sensor": (("--no-sensor",), scenes.SceneSettings(spec=SceneSpec(sensor=False))),
    "camera": (
        ("--light", "0.5", "--blur", "1", "--noise", "4", "--count", 9, "--seed", 8),
        scenes.SceneSettings(light=0.5, blur=1, noise=4, count=9, seed=8),
    ),
    "belt": (("--belt",), scenes.SceneSettings(spec=BeltSpec())),
    "belt's own": (
        ("--belt", "--step", "9", "--size", "320x240", "--defects", "1"),
        scenes.SceneSettings(spec=BeltSpec((320, 240), 9, 1)),
    ),
}


@pytest.mark.parametrize("name", TYPED)
def test_options_become_settings(
    edgecv: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    typed, expected = TYPED[name]
    assert settings_of(monkeypatch, edgecv, tmp_path, *typed) == expected


def test_a_belt(edgecv: Run, tmp_path: Path) -> None:
    result = edgecv("scenes", "--belt", "--count", 2, "--step", 30, "--size", "320x240", "--out", tmp_path)
    assert result.code == 0, result.err
    frames = scenes.make_belt(0, 2, BeltSpec((320, 240), 30))
    for frame, picture in zip(frames, pictures(tmp_path), strict=True):
        np.testing.assert_array_equal(picture, frame.image)


class Knowing:
    """A detector that knows what is there: it reads the truth off the pictures' own scenes."""

    names = scenes.CLASSES

    def __init__(self, spec: SceneSpec, count: int) -> None:
        self._known = {}
        for seed in range(count):
            scene = scenes.make_scene(seed, spec)
            self._known[scene.image.tobytes()] = scene

    def __call__(self, frame: np.ndarray, captured_ns: int | None = None) -> Detections:
        parts = self._known[frame.tobytes()].parts
        # From the masks, which the annotations' boxes were not read from.
        boxes = [
            (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            for rows, columns in (np.nonzero(part.mask) for part in parts)
        ]
        return Detections(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.full(len(parts), 0.9, np.float32),
            np.array([part.class_id for part in parts], np.int32),
            names=scenes.CLASSES,
        )


def test_what_is_written_is_true(edgecv: Run, tmp_path: Path) -> None:
    pytest.importorskip("hotcoco", reason="AP needs the extra eval")
    spec = SceneSpec(parts=(4, 12))
    assert edgecv("scenes", "--count", 6, "--parts", "4,12", "--out", tmp_path).code == 0
    report = evaluate.evaluate(Knowing(spec, 6), evaluate.open_dataset(tmp_path))  # type: ignore[arg-type]
    assert report.AP == report.AR100 == 1
    assert report.failures == ()
    document = json.loads((tmp_path / "instances.json").read_text())
    for annotation in document["annotations"]:
        mask = np.repeat(
            np.arange(len(annotation["segmentation"]["counts"])) % 2, annotation["segmentation"]["counts"]
        )
        rows, columns = np.nonzero(mask.reshape(annotation["segmentation"]["size"], order="F"))
        x, y, width, height = annotation["bbox"]
        assert (columns.min(), rows.min()) == (x, y)
        assert (np.ptp(columns) + 1, np.ptp(rows) + 1) == (width, height)


def test_eval_opens_it(edgecv: Run, tmp_path: Path) -> None:
    pytest.importorskip("hotcoco", reason="AP needs the extra eval")
    assert edgecv("scenes", "--count", 6, "--parts", "4,12", "--out", tmp_path).code == 0
    result = edgecv("eval", "parts-nano", tmp_path, "--threads", 1, "--json", "-")
    assert result.code == 0, result.err
    assert result.json["images"] == 6
    assert result.json["AP50"] > 0.8


WRONG: dict[str, tuple[tuple[object, ...], str]] = {
    "no picture": (("--count", 0), "--count: expected 1 to 10000"),
    "too many": (("--count", 10_001), "--count: "),
    "too much": (("--count", 5000, "--size", "4096x4096"), "--count: expected 1 to 1024"),
    "small": (("--size", "31x99"), "--size: expected two whole numbers from 32 to 4096"),
    "no size": (("--size", "large"), "--size: expected a size such as"),
    "parts upside down": (("--parts", "5,2"), "--parts: "),
    "parts of text": (("--parts", "many"), "--parts: "),
    "three numbers": (("--parts", "1,2,3"), "--parts: expected a number, or the least and the most"),
    "parts beyond the picture": (("--size", "100x100"), "--part-px: .*(the picture's shorter side)"),
    "tilt": (("--tilt", 60), "--tilt: expected a number from 0 to 45"),
    "litter": (("--litter", -1), "--litter: "),
    "defects": (("--defects", "nan"), "--defects: "),
    "seed": (("--seed", -1), "--seed: "),
    "light": (("--light", 17), "--light: "),
    "step": (("--belt", "--step", -1), "--step: expected a number from 0 to 1000"),
    "step without a belt": (("--step", 3), "--step: only a belt moves; add --belt"),
    "litter on a belt": (("--belt", "--litter", 3), "--litter: a belt has no such setting"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_use_is_one_line(edgecv: Run, tmp_path: Path, name: str) -> None:
    typed, message = WRONG[name]
    result = edgecv("scenes", "--out", tmp_path / "out", *typed)
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert message.partition(".*")[0] in result.err
    assert message.rpartition(".*")[2] in result.err
    assert names(tmp_path) == []


def test_a_folder_with_other_files_is_left_alone(edgecv: Run, tmp_path: Path) -> None:
    (tmp_path / "000000.png").write_bytes(b"mine")
    result = edgecv("scenes", "--count", 1, *SMALL, "--out", tmp_path)
    assert result.code == 2
    assert "it holds 000000.png" in result.err
    assert result.err.count("\n") == 1
    assert names(tmp_path) == ["000000.png"]
    assert (tmp_path / "000000.png").read_bytes() == b"mine"


def test_earlier_scenes_are_replaced(edgecv: Run, tmp_path: Path) -> None:
    for count in (3, 1):
        assert edgecv("scenes", "--count", count, *SMALL, "--out", tmp_path).code == 0
    assert names(tmp_path) == ["000000.png", "instances.json"]


def interrupted_after(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    whole = scenes.generate

    def some(settings: scenes.SceneSettings) -> Iterator[Scene]:
        for done, scene in enumerate(whole(settings)):
            if done == count:
                raise KeyboardInterrupt
            yield scene

    monkeypatch.setattr(scenes, "generate", some)


def test_ctrl_c_leaves_what_is_finished(edgecv: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted_after(monkeypatch, 2)
    result = edgecv("scenes", "--count", 5, *SMALL, "--out", tmp_path, "--json", "-")
    assert result.code == 130
    assert result.json["images"] == 2
    assert result.err == "edgecv: interrupted after 2 of 5 pictures; the data set is complete with them\n"
    assert names(tmp_path) == ["000000.png", "000001.png", "instances.json"]
    assert len(evaluate.open_dataset(tmp_path)) == 2


def test_ctrl_c_before_the_first_picture_leaves_nothing(
    edgecv: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted_after(monkeypatch, 0)
    result = edgecv("scenes", *SMALL, "--out", tmp_path / "out")
    assert (result.code, result.out) == (130, "")
    assert "nothing was written" in result.err
    assert names(tmp_path) == []


def test_a_signal_at_any_moment_leaves_a_dataset(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "edgecv", "scenes", "--count", "5000", "--out", str(out)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        waited_until = time.monotonic() + 60
        while len(list(out.glob(".edgecv-*/*.png"))) < 3:
            assert run.poll() is None
            assert time.monotonic() < waited_until
            time.sleep(0.01)
        os.kill(run.pid, signal.SIGINT)
        _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    assert told.startswith("edgecv: interrupted after "), told
    dataset = evaluate.open_dataset(out)
    assert names(out) == [*(f"{n:06d}.png" for n in range(len(dataset))), "instances.json"]
    # The third picture may have been there before its truth was.
    assert 2 <= len(dataset) < 5000
    assert all(picture.shape == (320, 320, 3) for picture in pictures(out))
