"""Plans in files: the same bits as the network itself, without ONNX, and nothing else is run."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edgecv
from edgecv import _isa, _simd, api, container
from edgecv.backends.simd import CompiledStage
from edgecv.engine import saved
from edgecv.errors import (
    ChecksumError,
    EdgeCVError,
    InputError,
    ModelFileError,
    ModelNotFoundError,
    PlacementError,
    UnavailableError,
)
from edgecv.explain import explain_model
from edgecv.options import LoadOptions
from tests.networks import photo, tiny_classifier, tiny_trunk, tiny_yolov8


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.onnx"
    path.write_bytes(tiny_yolov8())
    return path


@pytest.fixture
def plan(network: Path) -> Path:
    path = network.with_suffix(".ecv")
    explain_model(str(network), LoadOptions(threads=1), out=path)
    return path


def changed(path: Path, change: Callable[[dict[str, bytes], dict[str, str]], None]) -> Path:
    """The same container with other members or another `about`, its checksums right."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()[1:]}
        about = msgspec.json.decode(archive.read("manifest.json"))["about"]
    change(members, about)
    path.write_bytes(container.to_bytes("plan", members, about, "simd"))
    return path


def facts_of(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        found: dict[str, Any] = msgspec.json.decode(archive.read("network.plan.json"))
        return found


def with_facts(path: Path, stage: str = "network", **changes: Any) -> Path:
    def change(members: dict[str, bytes], _: dict[str, str]) -> None:
        name = f"{stage}.plan.json"
        members[name] = msgspec.json.encode({**msgspec.json.decode(members[name]), **changes})

    return changed(path, change)


def test_same_bits(network: Path, plan: Path) -> None:
    blob = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    frame = photo()
    with edgecv.compile(network, backend="simd", threads=1) as one, edgecv.compile(plan) as other:
        assert isinstance(other.compiled, CompiledStage)
        assert [str(spec) for spec in (*one.inputs, *one.outputs)] == [
            str(spec) for spec in (*other.inputs, *other.outputs)
        ]
        expected, got = one.run({"images": blob}), other.run({"images": blob})
        assert all(np.array_equal(expected[name], got[name]) for name in expected)
        assert other.placement == one.placement
        assert other.memory == one.memory
    with edgecv.load(network, backend="simd", threads=1) as one, edgecv.load(plan) as other:
        expected, got = one(frame), other(frame)
        assert np.array_equal(expected.xyxy, got.xyxy)
        assert expected.names == got.names
        assert got.placement.backend == "simd"


def test_by_bytes_and_by_any_name(plan: Path) -> None:
    blob = {"images": np.zeros((1, 3, 64, 64), np.float32)}
    other = plan.rename(plan.with_name("model.bin"))
    with edgecv.compile(other.read_bytes()) as one, edgecv.compile(other) as two:
        assert np.array_equal(one.run(blob)["output0"], two.run(blob)["output0"])
    edgecv.load(other, warmup=False).close()


def test_a_classifier(tmp_path: Path) -> None:
    network = tmp_path / "colors.onnx"
    network.write_bytes(tiny_classifier(softmax=True))
    card = {
        "schema": 2,
        "name": "colors",
        "task": "classify",
        "format": "onnx",
        "inputs": [{"name": "data", "size_wh": [32, 32]}],
        "head": {"type": "classify", "output": "prob"},
    }
    (tmp_path / "colors.model.json").write_bytes(msgspec.json.encode(card))
    with edgecv.load(network, backend="simd") as one:
        expected = one(photo())
    explain_model(str(network), out=tmp_path / "colors.ecv")
    with edgecv.load(tmp_path / "colors.ecv") as other:
        got = other(photo())
    assert np.array_equal(expected.confidence, got.confidence)


def test_without_onnx(plan: Path) -> None:
    """In a process in which importing onnx, onnx_ir or protobuf raises. It imports nothing slow."""
    code = f"""
import sys
for name in ("onnx", "onnx_ir", "google.protobuf", "onnxruntime", "cv2"):
    sys.modules[name] = None
import numpy as np
before = set(sys.modules)
import edgecv
with edgecv.load({str(plan)!r}, threads=1) as detector:
    found = detector(np.zeros((48, 64, 3), np.uint8))
    print(found.placement.backend, len(found.names))
print("edgecv.machine" in sys.modules)
with edgecv.compile({str(plan)!r}) as session:
    print(session.run({{"images": np.zeros((1, 3, 64, 64), np.float32)}})["output0"].shape)
heavy = {{"edgecv.graph", "edgecv.importers", "edgecv.zoo", "logging", "importlib.metadata"}}
heavy |= {{"pathlib", "urllib.parse", "numpy.typing", "hashlib", "threading"}}
print(sorted(heavy & set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["simd 3", "False", "(1, 7, 84)", "[]"]


def test_weights_are_mapped_and_tables_are_not(plan: Path) -> None:
    found = saved.read(plan).first
    assert not found.weights.flags.owndata
    assert not found.weights.flags.writeable
    before = found.constants.tobytes(), found.steps.tobytes()
    plan.write_bytes(bytes(plan.stat().st_size))
    assert (found.constants.tobytes(), found.steps.tobytes()) == before
    assert not found.weights.any()


def test_threads(plan: Path) -> None:
    with edgecv.compile(plan) as session:
        assert session.placement.threads == 1, "those that it is cut for"
    with edgecv.compile(plan, threads=2) as session:
        assert session.placement.threads == 2


@pytest.mark.parametrize("isa", ["sse42", "avx2", "avx512", "neon"])
def test_for_another_machine(network: Path, isa: str) -> None:
    path = network.with_name("other.ecv")
    explained = explain_model(str(network), isa=isa, out=path)["network"]
    assert explained.isa == container.read(path).about["isa"] == isa
    assert (explained.scratch_bytes is None) == (isa not in _isa.usable())
    if isa in _isa.usable():
        with edgecv.compile(path) as session:
            assert session.placement.engine == isa
            assert np.isfinite(session.run({"images": np.ones((1, 3, 64, 64), np.float32)})["output0"]).all()
    else:
        with pytest.raises(UnavailableError, match=f"packed for {isa}, which this CPU"):
            edgecv.compile(path)


def test_forced_isa(network: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = network.with_name("other.ecv")
    explain_model(str(network), isa=_isa.usable()[0], out=path)
    monkeypatch.setenv("EDGECV_ISA", _isa.usable()[0])
    edgecv.compile(path).close()
    monkeypatch.setenv("EDGECV_ISA", _isa.usable()[-1])
    if len(_isa.usable()) > 1:
        with pytest.raises(UnavailableError, match="asks for another"):
            edgecv.compile(path)


def test_a_size_of_its_own(tmp_path: Path) -> None:
    network = tmp_path / "dynamic.onnx"
    network.write_bytes(tiny_yolov8(dynamic=True))
    path = tmp_path / "dynamic.ecv"
    explain_model(str(network), LoadOptions(imgsz=(96, 64)), out=path)
    with edgecv.load(path) as detector:
        assert detector.blob_wh == (96, 64)
        detector(photo())
    with pytest.raises(InputError, match="imgsz asks for 64x64, and the network's input is fixed at 96x64"):
        edgecv.load(path, imgsz=64)
    with (
        edgecv.compile(path) as session,
        pytest.raises(InputError, match=r"a plan for its shapes alone; compile dynamic\.onnx for others"),
    ):
        session.run({"images": np.zeros((1, 3, 64, 64), np.float32)}, replan=True)


REFUSED: dict[str, tuple[dict[str, Any], type[EdgeCVError], str]] = {
    "backend": ({"backend": "opencv"}, PlacementError, "a plan of simd, which no other backend runs"),
    "fallbacks": ({"backend": "opencv,onnxruntime"}, PlacementError, "tiny.onnx"),
    "device": ({"device": "cuda"}, PlacementError, "it runs on the cpu only"),
    "precision": ({"precision": "fp16"}, PlacementError, "the engine computes in fp32 alone"),
    "weights": ({"weights": "x.onnx"}, InputError, "a plan, which holds its weights and its card"),
    "labels": ({"labels": "x.txt"}, InputError, "a plan, which holds its weights and its card"),
    "mean": ({"mean": (1, 2, 3)}, InputError, "a plan, which holds its weights and its card"),
    "task": ({"task": "classify"}, InputError, "a model to detect, not to classify"),
}


@pytest.mark.parametrize(("options", "error", "problem"), REFUSED.values(), ids=REFUSED)
def test_options_that_do_not_go(
    plan: Path, options: dict[str, Any], error: type[EdgeCVError], problem: str
) -> None:
    with pytest.raises(error, match=problem):
        edgecv.load(plan, **options)


def test_fallback_is_recorded(plan: Path) -> None:
    with edgecv.load(plan, backend="opencv,simd") as detector:
        assert [name for name, _ in detector.placement.fallbacks] == ["opencv"]


def test_networks_are_wanted_elsewhere(plan: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a network is wanted here"):
        api.resolve(plan)
    with pytest.raises(InputError, match="a network is wanted here"):
        explain_model(str(plan))
    with pytest.raises(ModelNotFoundError):
        edgecv.load(tmp_path / "none.ecv")
    (tmp_path / "tiny2.ecv").write_bytes(tiny_yolov8())
    with pytest.raises(ModelFileError, match="expected a container of edgecv"):
        edgecv.load(tmp_path / "tiny2.ecv")


def test_a_network_without_a_card(tmp_path: Path) -> None:
    network = tmp_path / "trunk.onnx"
    network.write_bytes(tiny_trunk())
    path = tmp_path / "trunk.ecv"
    explain_model(str(network), out=path)
    edgecv.compile(path).close()
    with pytest.raises(InputError, match="a plan without a card"):
        edgecv.load(path)


def test_names_that_are_refused(network: Path) -> None:
    with pytest.raises(InputError, match=r"ends with \.ecv"):
        explain_model(str(network), out=network.with_suffix(".zip"))
    with pytest.raises(InputError, match="isa: expected one of"):
        explain_model(str(network), isa="mmx")
    foreign = next(isa for isa in ("neon", "avx512", "avx2") if isa not in _isa.usable())
    with pytest.raises(UnavailableError, match="cannot be timed here"):
        explain_model(str(network), isa=foreign, repeats=1)


def test_of_another_engine(plan: Path) -> None:
    changed(plan, lambda _, about: about.update(engine="0123456789abcdef"))
    with pytest.raises(ModelFileError, match=r"got one of 0123456789abcdef .* compile it again") as caught:
        edgecv.load(plan)
    assert caught.value.exit_code == 2


def test_fingerprint_is_of_fields_and_choices(monkeypatch: pytest.MonkeyPatch) -> None:
    def computed() -> str:
        saved.fingerprint.cache_clear()
        return saved.fingerprint()

    try:
        seen = {computed()}
        monkeypatch.setattr(_simd, "OPS", {**_simd.OPS, "conv": _simd.OPS["conv"][::-1]})
        seen.add(computed())
        monkeypatch.setattr(_simd, "CHOICES", dict(reversed(_simd.CHOICES.items())))
        seen.add(computed())
        monkeypatch.setattr(saved, "VERSION", saved.VERSION + 1)
        seen.add(computed())
        assert len(seen) == 4
    finally:
        saved.fingerprint.cache_clear()


def test_damaged(plan: Path) -> None:
    data = bytearray(plan.read_bytes())
    data[-2000] ^= 1
    plan.write_bytes(data)
    with pytest.raises(ChecksumError, match="expected CRC-32"):
        edgecv.load(plan)


WRONG_FACTS: dict[str, tuple[dict[str, Any], str]] = {
    "types": ({"threads": "two"}, r"network\.plan\.json: Expected `int`, got `str`"),
    "threads": ({"threads": 0}, "`threads`: expected 1 to 256, got 0"),
    "arena": ({"arena_bytes": 1 << 40}, "`arena_bytes`, `state_bytes`: expected at most"),
    "negative": ({"state_bytes": -1}, "`arena_bytes`, `state_bytes`: expected at most"),
    "results": ({"results": 3}, "`results`: expected 1 to 1, got 3"),
    "inputs": ({"inputs": []}, "`inputs`: expected 1 to 1024 of different names, got 0"),
    "field": ({"more": 1}, "unknown field `more`"),
    "field of lines": ({"more\nlines": 1}, "unknown field `more lines`"),
    "stored": ({"stored": "fp8"}, "Invalid enum value 'fp8'"),
    "dtype": ({"inputs": [{"name": "x", "dtype": "object", "shape": [1]}]}, "Invalid enum value 'object'"),
    "shape": ({"inputs": [{"name": "x", "dtype": "int8", "shape": [-1]}]}, "is no shape"),
    "size": ({"inputs": [{"name": "x", "dtype": "int8", "shape": [1 << 40]}]}, "takes over 1024 MB"),
    "rows": ({"outputs": [{"name": "x", "dtype": "int8", "shape": [1], "rows": 7}]}, "no count of rows"),
    "small arena": ({"arena_bytes": 0}, "its program is not sound"),
    "labels": ({"labels": []}, "its program is not sound: labels: expected one a step"),
    "other input": (
        {"inputs": [{"name": "images", "dtype": "float32", "shape": [1, 3, 8, 8]}]},
        "its program is not sound",
    ),
}


@pytest.mark.parametrize(("changes", "problem"), WRONG_FACTS.values(), ids=WRONG_FACTS)
def test_hostile_facts(plan: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelFileError, match=problem) as caught:
        edgecv.compile(with_facts(plan, **changes))
    assert len(str(caught.value).splitlines()) == 1


def test_hostile_members(plan: Path) -> None:
    def cut(name: str) -> Callable[[dict[str, bytes], dict[str, str]], None]:
        return lambda members, _: members.update({name: members[name][:-4]})

    original = plan.read_bytes()
    for name, problem in (
        ("network.program", r"network\.program of \d+ bytes is not of int64"),
        ("network.weights", "its program is not sound"),
        ("network.plan.json", r"network\.plan\.json: "),
    ):
        plan.write_bytes(original)
        with pytest.raises(ModelFileError, match=problem):
            edgecv.compile(changed(plan, cut(name)))
    plan.write_bytes(original)
    with pytest.raises(EdgeCVError, match=r"card.json"):
        edgecv.load(changed(plan, cut("card.json")))
    plan.write_bytes(original)
    with pytest.raises(ModelFileError, match=r"expected the members .*network\.program.*, got card\.json"):
        edgecv.compile(changed(plan, lambda members, _: members.pop("network.program") and None))


def test_counts_of_rows(tmp_path: Path) -> None:
    """A result whose length the data tell comes out with that length."""
    from onnx import TensorProto, helper

    nodes = [helper.make_node("NonMaxSuppression", ["boxes", "scores", "most", "iou", "least"], ["kept"])]
    graph = helper.make_graph(
        nodes,
        "nms",
        [
            helper.make_tensor_value_info("boxes", TensorProto.FLOAT, [1, 4, 4]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, 1, 4]),
        ],
        [helper.make_tensor_value_info("kept", TensorProto.INT64, ["n", 3])],
        [
            helper.make_tensor("most", TensorProto.INT64, [1], [4]),
            helper.make_tensor("iou", TensorProto.FLOAT, [1], [0.5]),
            helper.make_tensor("least", TensorProto.FLOAT, [1], [0.4]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    network = tmp_path / "nms.onnx"
    network.write_bytes(model.SerializeToString())
    explain_model(str(network), out=tmp_path / "nms.ecv")
    boxes = np.array([[[0, 0, 1, 1], [0, 0, 1, 1], [5, 5, 6, 6], [8, 8, 9, 9]]], np.float32)
    scores = np.array([[[0.9, 0.8, 0.7, 0.1]]], np.float32)
    with edgecv.compile(tmp_path / "nms.ecv") as session:
        kept = session.run({"boxes": boxes, "scores": scores})["kept"]
    assert kept.tolist() == [[0, 0, 0], [0, 0, 2]]


def test_zip_of_a_plan_is_readable(plan: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(plan.read_bytes())) as archive:
        assert archive.namelist() == [
            "manifest.json", "card.json",
            "network.plan.json", "network.program", "network.constants", "network.weights",
        ]  # fmt: skip
    assert facts_of(plan)["source"] == "tiny.onnx"


@pytest.mark.slow
def test_plans_changed_at_random() -> None:
    tool = Path(__file__).parents[2] / "tools" / "fuzz_ecv.py"
    command = [sys.executable, str(tool), "--files", "400", "--first", "1000000", "--seconds", "120"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "400 files in " in done.stdout
    assert any(line.split()[:2] == ["program", "runs"] for line in done.stdout.splitlines())
