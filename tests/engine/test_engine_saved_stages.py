"""Plans of several networks in one file: what is written is read, and runs to the same bits."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

import edgecv
from edgecv import _isa, container, planfile
from edgecv import card as cards
from edgecv.engine import saved
from edgecv.engine.compile import compile_model
from edgecv.errors import CardError, ChecksumError, InputError, ModelFileError
from edgecv.explain import explain_model
from edgecv.graph.model import OnnxModel
from edgecv.options import LoadOptions
from edgecv.pipelines.region_proposal import RegionProposal
from edgecv.planfile import Told
from edgecv.types import TensorSpec
from tests.importers.caffe import topologies
from tests.networks import photo, tiny_roi, tiny_trunk
from tests.pipelines.test_region_proposal import CARD

STAGES = ("trunk", "roi")


def write_staged(folder: Path, *, rois: int | str = 30) -> Path:
    """The card of a small Faster R-CNN, its two networks beside it."""
    stages: dict[str, dict[str, Any]] = {}
    for stage, network in zip(STAGES, (tiny_trunk(), tiny_roi(rois=rois)), strict=True):
        path = folder / f"tiny.{stage}.onnx"
        path.write_bytes(network)
        sums = {"sha256": hashlib.sha256(network).hexdigest(), "bytes": len(network)}
        stages[stage] = {"files": [{"path": path.name, **sums}]}
    stages["trunk"]["inputs"], stages["roi"]["head"] = CARD["inputs"], CARD["head"]
    path = folder / "tiny.json"
    whole = {field: value for field, value in CARD.items() if field not in ("inputs", "head")}
    card = {**whole, "stages": stages, "thresholds": {"conf": 0.3, "iou": 0.3}}
    path.write_bytes(msgspec.json.encode(card))
    return path


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.ecv"
    explain_model(str(write_staged(tmp_path)), LoadOptions(threads=1), out=path)
    return path


def changed(path: Path, change: Callable[[dict[str, bytes]], Any], *, backend: str = "simd") -> Path:
    """The same container with other members, its checksums right."""
    found = container.read(path)
    members = {name: found.copied(name).tobytes() for name in found.names}
    members = change(members) or members
    path.write_bytes(container.to_bytes("plan", members, found.about, backend))
    return path


def with_facts(members: dict[str, bytes], stage: str, **changes: Any) -> None:
    name = f"{stage}.plan.json"
    members[name] = msgspec.json.encode({**msgspec.json.decode(members[name]), **changes})


@pytest.mark.parametrize("rois", [30, 16, "n"])
def test_same_bits(tmp_path: Path, rois: int | str) -> None:
    card = write_staged(tmp_path, rois=rois)
    path = tmp_path / "plan.ecv"
    explained = explain_model(str(card), LoadOptions(threads=1), out=path)
    assert tuple(explained) == STAGES
    assert explained["roi"].inputs == {"pool5": (30 if rois == "n" else rois, 20, 2, 3)}
    frame = photo(150, 90)
    with edgecv.load(card, backend="simd", threads=1) as one, edgecv.load(path) as other:
        assert isinstance(other, RegionProposal)
        assert other.card.stages == one.card.stages
        assert other.placement == one.placement
        assert other.memory == one.memory
        expected, got = one(frame), other(frame)
        raw = [d.inspect(frame).outputs for d in (one, other)]
    assert len(expected) > 2
    assert np.array_equal(expected.xyxy, got.xyxy)
    assert np.array_equal(expected.confidence, got.confidence)
    assert np.array_equal(expected.class_id, got.class_id)
    assert list(raw[0]) == list(raw[1])
    assert all(np.array_equal(raw[0][name], raw[1][name]) for name in raw[0])


def test_a_network_of_caffe_and_what_its_importer_told(tmp_path: Path) -> None:
    paths = topologies.zf_faster_rcnn(16, (96, 128)).write(tmp_path)
    model, path = str(paths[0]), tmp_path / "zf.ecv"
    explain_model(model, LoadOptions(threads=1), out=path)
    told = edgecv.api.resolve(model)
    found = saved.read(path)
    assert told.remarks or told.assumptions
    assert found.told == Told(told.remarks, told.assumptions, is_drafted=True)
    frame = photo(150, 90)
    with edgecv.load(model, backend="simd", threads=1) as one, edgecv.load(path) as other:
        expected, got = (d.inspect(frame).outputs for d in (one, other))
        assert all(np.array_equal(expected[name], got[name]) for name in expected)
        assert np.array_equal(one(frame).xyxy, other(frame).xyxy)
        assert other.card.head == one.card.head


def test_read_as_written(plan: Path) -> None:
    for source in (plan, plan.read_bytes()):
        found = saved.read(source)
        assert (found.backend, tuple(found.stages)) == ("simd", STAGES)
        assert found.first is found.stages["trunk"]
        for name, stage in found.stages.items():
            assert stage.origin == f"{found.origin}: {name}"
            assert stage.source == f"tiny.{name}.onnx"
            assert (stage.threads, stage.stored, stage.precision) == (1, "fp32", "fp32")
            assert stage.isa == _isa.active()
            assert not stage.weights.flags.owndata
            stage.load()
        assert found.first.facts.image_wh == (96, 80)
        assert found.told == Told()
        assert found.card is not None
        card = cards.parse(found.card, origin="test")
        assert {name: stage.files[0].path for name, stage in card.stages.items()} == {
            name: f"tiny.{name}.onnx" for name in STAGES
        }
    with zipfile.ZipFile(plan) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [
            "manifest.json", "card.json",
            "trunk.plan.json", "trunk.program", "trunk.constants", "trunk.weights",
            "roi.plan.json", "roi.program", "roi.constants", "roi.weights",
        ]  # fmt: skip


def test_every_stage_has_the_threads_that_are_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "plan.ecv"
    explain_model(str(write_staged(tmp_path)), LoadOptions(threads=2), out=path)
    with edgecv.load(path, threads=2) as detector:
        assert isinstance(detector, RegionProposal)
        assert detector.roi.placement.threads == detector.trunk.placement.threads == 2


def test_one_network_is_wanted(plan: Path) -> None:
    for model in (plan, plan.read_bytes()):
        with pytest.raises(InputError, match=r"a plan of 2 networks \(trunk, roi\), and one is wanted"):
            edgecv.compile(model)


def stage_to_save(isa: str | None = None, **changes: Any) -> saved.StageToSave:
    model = OnnxModel.from_bytes(tiny_roi(), origin="roi.onnx")
    shape = (30, 20, 2, 3)
    compiled = compile_model(model, {"pool5": shape}, isa=isa or _isa.active())
    fields: dict[str, Any] = {
        "encoded": compiled.encoded,
        "inputs": [TensorSpec("pool5", np.dtype(np.float32), shape)],
        "outputs": compiled.outputs,
        "results": 2,
        "source": "roi.onnx",
        "threads": 1,
        "stored": "fp16",
    }
    return saved.StageToSave(**{**fields, **changes})


def test_remarks_and_assumptions_are_kept() -> None:
    stages = {"b": stage_to_save(), "a": stage_to_save(threads=3, stored="int8")}
    data = saved.to_bytes(stages, card=None, told=Told(("x", "ü"), ("z",), is_drafted=True), origin="net.cfg")
    found = saved.of(container.read(data))
    assert (found.told, found.card) == (Told(("x", "ü"), ("z",), is_drafted=True), None)
    assert container.read(data).about["source"] == "net.cfg"
    assert planfile.threads_of(container.read(data)) == 3
    assert {name: (s.threads, s.stored) for name, s in found.stages.items()} == {
        "b": (1, "fp16"),
        "a": (3, "int8"),
    }
    assert list(found.stages) == ["b", "a"], "in the order in which they run"
    assert "remarks.json" not in container.read(saved.to_bytes(stages, card=None))
    one = saved.read(saved.to_bytes(stages, card=None, told=Told(assumptions=("z",))))
    assert one.told == Told((), ("z",))


def test_stages_that_cannot_be_saved() -> None:
    stage = stage_to_save()
    for names in ((), tuple(f"s{i}" for i in range(17))):
        with pytest.raises(InputError, match=f"a plan has 1 to 16 of them, got {len(names)}"):
            saved.to_bytes(dict.fromkeys(names, stage), card=None)
    for name in ("", "Trunk", "a.b", "a/b", "a\n", "-a", "a" * 33):
        with pytest.raises(InputError, match="expected 1 to 32 lower case letters"):
            saved.to_bytes({name: stage}, card=None)
    saved.read(saved.to_bytes(dict.fromkeys(["a" * 32, "0_-", *map(str, range(14))], stage), card=None))
    other = next(isa for isa in ("sse42", "avx2", "neon") if isa != _isa.active())
    with pytest.raises(InputError, match="expected one instruction set for all"):
        saved.to_bytes({"a": stage, "b": stage_to_save(other)}, card=None)


def test_a_card_whose_stages_cannot_be_saved(tmp_path: Path) -> None:
    path = write_staged(tmp_path)
    card = msgspec.json.decode(path.read_bytes())
    card["stages"] = {"The Trunk": card["stages"]["trunk"], "roi": card["stages"]["roi"]}
    path.write_bytes(msgspec.json.encode(card))
    out = tmp_path / "plan.ecv"
    with pytest.raises(CardError, match="`stages`: name 'The Trunk': expected 1 to 32 lower case"):
        explain_model(str(path), out=out)
    assert not out.exists()


GIGA = 1 << 30


def too_much_work(members: dict[str, bytes]) -> None:
    for stage in STAGES:
        with_facts(members, stage, arena_bytes=3 * GIGA)


def many_stages(members: dict[str, bytes]) -> dict[str, bytes]:
    parts = {name.removeprefix("roi."): data for name, data in members.items() if name.startswith("roi.")}
    stages = {f"s{i}.{part}": data for i in range(17) for part, data in parts.items()}
    return {"card.json": members["card.json"], **stages}


def last_first(members: dict[str, bytes]) -> dict[str, bytes]:
    return {"roi.weights": members.pop("roi.weights"), **members}


def renamed(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda members: {key.replace("roi.", f"{name}."): data for key, data in members.items()}


HOSTILE: dict[str, tuple[Callable[[dict[str, bytes]], Any], str]] = {
    "work": (too_much_work, r"expected stages that work in at most 4294967296 bytes, got 6442450944"),
    "no stages": (lambda members: {"card.json": members["card.json"]}, "a plan has 1 to 16 of them, got 0"),
    "many stages": (many_stages, "a plan has 1 to 16 of them, got 17"),
    "name": (renamed("a.b"), "stages: 'a.b': expected 1 to 32"),
    "long name": (renamed("a" * 40), "expected 1 to 32"),
    "order": (last_first, r"expected the members card\.json, trunk\.plan\.json"),
    "one more": (lambda members: {**members, "more": b""}, r"roi\.weights, more; compile it again"),
    "one of another": (lambda members: {**members, "x.weights": b""}, r"roi\.weights, x\.weights; compile"),
    "missing": (lambda members: members.pop("roi.constants") and None, "expected the members"),
    "facts": (lambda members: with_facts(members, "roi", threads=0), r"roi\.plan\.json: `threads`"),
    "program": (
        lambda members: with_facts(members, "roi", arena_bytes=0),
        r"tiny\.ecv: roi: its program is not sound",
    ),
    "remarks": (
        lambda members: {
            "card.json": members.pop("card.json"),
            "remarks.json": b'{"remarks":[1]}',
            **members,
        },
        r"remarks\.json: Expected `str`, got `int`",
    ),
    "remarks of lines": (
        lambda members: {"card.json": members.pop("card.json"), "remarks.json": b'{"a\\nb":1}', **members},
        r"remarks\.json: Object contains unknown field `a b`",
    ),
}


@pytest.mark.parametrize(("change", "problem"), HOSTILE.values(), ids=HOSTILE)
def test_hostile(plan: Path, change: Callable[[dict[str, bytes]], Any], problem: str) -> None:
    with pytest.raises(ModelFileError, match=problem) as caught:
        edgecv.load(changed(plan, change))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("backend", ["", "tensorrt", "x" * 100])
def test_of_another_backend(plan: Path, backend: str) -> None:
    known = f"a plan of {backend[:40] or 'no backend'}, which this edgecv does not have; backends: simd, "
    with pytest.raises(ModelFileError, match=known):
        edgecv.load(changed(plan, lambda _: None, backend=backend))


def test_a_damaged_stage_is_named(plan: Path) -> None:
    data = bytearray(plan.read_bytes())
    weights = container.read(bytes(data)).copied("roi.weights").tobytes()
    data[data.index(weights) + 5] ^= 1
    plan.write_bytes(data)
    with pytest.raises(ChecksumError, match=r"roi\.weights: expected CRC-32"):
        edgecv.load(plan)


def test_stages_that_the_head_does_not_read(plan: Path) -> None:
    with pytest.raises(edgecv.errors.CardError, match="`stages` expected trunk and roi, got trunk, second"):
        edgecv.load(changed(plan, renamed("second")))
