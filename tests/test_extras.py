"""What a device without an extra can do, and the one line that it gets for what it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from edgecv import extras
from edgecv.cli import main
from edgecv.errors import MissingExtraError
from tests.docs import places
from tests.networks import photo, tiny_yolov8

cv2 = pytest.importorskip("cv2", reason="the pictures need the extra opencv")

ROOT = Path(__file__).parents[1]
# The import names of what each extra brings, and of what comes along with it.
LIBRARIES = {
    "models": ("onnx", "onnx_ir", "google", "pooch", "requests"),
    "reports": ("jinja2", "markupsafe"),
    "bench": ("psutil",),
    "opencv": ("cv2",),
    "onnxruntime": ("onnxruntime",),
    "eval": ("hotcoco", "yaml"),
}
# Put where Python looks first: it holds for the processes that a verb starts, too.
HIDE = """
import os, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in os.environ["EDGECV_TEST_ABSENT"].split(","):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network and its plan; two YOLO data sets, whose names of classes stand in YAML and in lines."""
    path = tmp_path_factory.mktemp("device")
    (path / "net.onnx").write_bytes(tiny_yolov8())
    assert main(["compile", str(path / "net.onnx"), "--out", str(path / "net.ecv")]) == 0
    for name, names in (("set/data.yaml", "names: [a, b, c]"), ("lines/classes.txt", "a\nb\nc")):
        root = (path / name).parent
        (root / "images").mkdir(parents=True)
        (root / "labels").mkdir()
        (root / "labels" / "a.txt").write_text("0 .5 .5 .2 .2\n")
        (path / name).write_text(names)
        assert cv2.imwrite(str(root / "images" / "a.png"), photo())
    (path / "hook").mkdir()
    (path / "hook" / "sitecustomize.py").write_text(HIDE)
    return path


def run(folder: Path, absent: Iterable[str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Python with the arguments in a process that cannot import some libraries."""
    paths = os.pathsep.join([str(folder / "hook"), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": paths, "EDGECV_TEST_ABSENT": ",".join(absent)}
    return called([sys.executable, *arguments], folder, env)


def called(command: list[str], folder: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


# What is typed, without which extra, and the library that is named first.
MISSING = [
    ("models", "onnx", "detect net.onnx set/images"),
    ("models", "onnx", "detect parts-nano set/images"),
    ("models", "onnx", "classify net.onnx set/images"),
    ("models", "onnx", "compile net.onnx"),
    ("models", "onnx", "convert net.onnx --to other.onnx"),
    ("models", "onnx", "eval net.onnx set"),
    ("models", "onnx", "verify parts-nano"),
    ("models", "onnx", "bench net.onnx --layers"),
    ("models", "pooch", "models pull yolox-nano-416"),
    ("reports", "jinja2", "eval net.ecv set --html page.html"),
    ("reports", "jinja2", "bench net.ecv --html page.html"),
    ("reports", "jinja2", "demo --out demo"),
    ("opencv", "OpenCV", "detect net.ecv set/images"),
    ("opencv", "OpenCV", "demo --out demo"),
    ("opencv", "OpenCV", "scenes --out demo"),
    ("opencv", "OpenCV", "detect net.onnx set/images --backend opencv"),
    ("onnxruntime", "onnxruntime", "detect net.onnx set/images --backend onnxruntime"),
    ("eval", "hotcoco", "eval net.ecv lines"),
    ("eval", "PyYAML", "eval net.ecv set"),
]


@pytest.mark.parametrize(("extra", "library", "typed"), MISSING)
def test_a_missing_extra_is_one_line(extra: str, library: str, typed: str, folder: Path) -> None:
    done = run(folder, LIBRARIES[extra], "-medgecv", *typed.split())
    assert done.stderr.endswith(
        f"{library} is not installed; install it with: pip install 'edgecv[{extra}]'\n"
    ), done.stderr
    assert done.stderr.startswith("edgecv: ")
    assert (done.returncode, done.stderr.count("\n"), done.stdout) == (3, 1, "")
    assert not (folder / "demo").exists()
    assert not (folder / "page.html").exists()


@pytest.mark.parametrize(
    ("extra", "typed"),
    [("models", "bench net.onnx --backend simd"), ("onnxruntime", "bench net.onnx --backend onnxruntime")],
)
def test_the_process_of_a_benchmark_says_the_same(extra: str, typed: str, folder: Path) -> None:
    done = run(folder, LIBRARIES[extra], "-medgecv", *typed.split(), "--json", "-")
    assert f"pip install 'edgecv[{extra}]'" in json.loads(done.stdout)["results"][0]["error"]
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)


ALL = [library for libraries in LIBRARIES.values() for library in libraries]
# What a device does with a plan on frames that it brings itself.
DETECT = """
import numpy as np
import edgecv

frame = np.random.default_rng(0).integers(0, 256, (70, 90, 3)).astype(np.uint8)
with edgecv.load("net.ecv", threads=1) as detector:
    print(detector(frame).placement.backend)
with edgecv.compile("net.ecv", threads=1) as session:
    print(session.run({"images": np.zeros((1, 3, 64, 64), np.float32)})["output0"].shape[0])
"""


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        pytest.param(["-c", DETECT], "simd\n1\n", id="a plan on arrays"),
        pytest.param(["-medgecv", "--help"], "Commands:", id="help"),
        pytest.param(["-medgecv", "backends"], "pip install 'edgecv[onnxruntime]'", id="backends"),
        pytest.param(["-medgecv", "models", "list"], "parts-nano", id="models list"),
        pytest.param(["-medgecv", "models", "show", "parts-nano"], '"name": "parts-nano"', id="models show"),
        pytest.param(["-medgecv", "models", "show", "net.ecv"], "format     plan", id="show a plan"),
        pytest.param(["-medgecv", "bench", "net.ecv", "--frames", "2"], "frames/s", id="bench a plan"),
    ],
)
def test_a_device_without_any_extra(arguments: list[str], shown: str, folder: Path) -> None:
    done = run(folder, ALL, *arguments)
    assert shown in done.stdout, done.stderr
    assert (done.returncode, done.stderr) == (0, "")


def test_a_device_with_opencv_alone(folder: Path) -> None:
    absent = [library for library in ALL if library != "cv2"]
    done = run(folder, absent, "-medgecv", "detect", "net.ecv", "set/images", "--json", "-")
    assert (done.returncode, json.loads(done.stdout)["source"]) == (0, "set/images/a.png"), done.stderr


IMPORT_ALL = """
import importlib, pkgutil
import edgecv
from edgecv.errors import MissingExtraError

for module in pkgutil.walk_packages(edgecv.__path__, "edgecv.", onerror=lambda name: None):
    if module.name != "edgecv.__main__":
        try:
            importlib.import_module(module.name)
        except MissingExtraError:
            print(module.name)
"""


def test_no_module_stumbles_over_a_missing_library(folder: Path) -> None:
    done = run(folder, ALL, "-c", IMPORT_ALL)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"edgecv.graph", "edgecv.importers", "edgecv.report"} <= set(done.stdout.split())
    assert not {"edgecv.api", "edgecv.bench", "edgecv.engine", "edgecv.evaluate"} & set(done.stdout.split())


def test_every_extra_of_a_device_is_known_here() -> None:
    section = (ROOT / "pyproject.toml").read_text("utf-8").split("[project.optional-dependencies]")[1]
    names = {line.partition(" = ")[0] for line in section.split("\n[")[0].splitlines() if " = [" in line}
    assert names - {"opencv-gui", "train", "peers", "all", "dev"} == set(LIBRARIES)


def test_errors_of_our_own_modules_are_not_taken_for_a_missing_extra() -> None:
    with pytest.raises(ImportError) as raised, extras.required("models"):
        from edgecv.errors import NothingLikeIt  # noqa: F401
    assert not isinstance(raised.value, MissingExtraError)


def test_a_library_that_lacks_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "a_library_of_this_test", types.ModuleType("a_library_of_this_test"))
    with pytest.raises(MissingExtraError) as raised, extras.required("fast"):
        from a_library_of_this_test import newer  # noqa: F401
    assert str(raised.value).startswith("a_library_of_this_test is installed but cannot be imported: ")
    assert str(raised.value).endswith("; install it with: pip install 'edgecv[fast]'")


# The base dependencies, with what they need in turn.
BASE = {"edgecv", "numpy", "msgspec", "click", "rich", "markdown-it-py", "mdurl", "pygments"}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the base install alone."""
    folder = tmp_path_factory.mktemp("base")
    env = places.newcomer_env(folder / "bin", folder / "clone")
    reason = places.why_no_packages(env, folder / "probe")
    if reason is not None:
        print(reason)
        if not os.environ.get("CI"):
            pytest.skip(f"pip cannot download here: {reason.splitlines()[-1]}")
        pytest.fail("pip cannot download, and in CI it has to")
    places.copy_project(folder / "clone")
    for command in ("python3 -m venv venv", "venv/bin/pip install --quiet ./clone"):
        done = called(command.split(), folder, env)
        assert done.returncode == 0, done.stderr
    return folder / "venv" / "bin"


@pytest.mark.slow
def test_the_base_install_runs_a_plan(base: Path, folder: Path) -> None:
    def said(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return called([str(base / program), *arguments], folder, env)

    listed = {row["name"].lower() for row in json.loads(said("pip", "list", "--format", "json").stdout)}
    assert listed - {"pip", "setuptools"} == BASE
    done = said("python", "-c", DETECT)
    assert (done.stdout, done.stderr) == ("simd\n1\n", "")
    done = said("edgecv", "detect", "net.onnx", "set/images")
    assert (done.returncode, done.stderr) == (
        3,
        "edgecv: onnx is not installed; install it with: pip install 'edgecv[models]'\n",
    )
