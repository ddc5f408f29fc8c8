"""edgecv models, backends, verify, bench and eval."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecv import cli, zoo
from tests.cli.conftest import Result

Run = Callable[..., Result]


@pytest.mark.parametrize("verb", cli.VERBS)
def test_help(edgecv: Run, verb: str) -> None:
    result = edgecv(verb, "--help")
    assert result.code == 0
    assert "Usage: edgecv" in result.out


@pytest.mark.parametrize("group", ["models", "cache"])
def test_short_helps_are_whole(edgecv: Run, group: str) -> None:
    assert "..." not in edgecv(group, "--help").out.split("Commands:")[1]


def test_top_help_and_version(edgecv: Run) -> None:
    result = edgecv("--help")
    assert all(verb in result.out for verb in cli.VERBS)
    assert "EDGECV_MODELS" in result.out


def test_models_list(edgecv: Run) -> None:
    result = edgecv("models", "list", "--json", "-")
    assert result.code == 0
    names = [row["name"] for row in result.json]
    assert "yolox-nano-416" in names
    table = edgecv("models", "list")
    assert all(name in table.out for name in names)


def test_models_show(edgecv: Run) -> None:
    result = edgecv("models", "show", "nanodet-m", "--json", "-")
    assert result.json["name"] == "nanodet-m-416"
    assert len(result.json["labels"]) == 80
    assert "80 in all" in edgecv("models", "show", "nanodet-m").out
    missing = edgecv("models", "show", "nanodet-x")
    assert missing.code == 2
    assert "nanodet-m" in missing.err


def test_models_pull_of_what_is_here(edgecv: Run, third_party_models: Path) -> None:
    result = edgecv("models", "pull", "fastestdet", "yunet-n", "--json", "-")
    assert result.code == 0
    assert set(result.json) == {"fastestdet-352", "yunet-n-640"}
    assert all(Path(path).is_file() for paths in result.json.values() for path in paths)


def test_models_pull_of_what_comes_along(edgecv: Run) -> None:
    result = edgecv("models", "pull", "parts-nano", "--json", "-")
    assert result.code == 0
    assert [Path(path).name for path in result.json["parts-nano"]] == ["parts-nano.onnx"]


def test_backends(edgecv: Run) -> None:
    result = edgecv("backends", "--json", "-")
    assert result.code == 0
    rows = {row["backend"]: row for row in result.json["backends"]}
    assert set(rows) >= {"opencv", "onnxruntime"}
    assert all(row["usable"] == (row["reason"] is None) for row in rows.values())
    assert result.json["machine"]
    assert "opencv" in edgecv("backends").out


def test_verify_of_a_model_without_golden_tensors(edgecv: Run, network: Path) -> None:
    result = edgecv("verify", network, "--json", "-")
    assert result.code == 0
    checks = result.json["checks"]
    assert result.json["first_divergence"] is None
    assert {check["stage"] for check in checks} == {"blob", "outputs", "candidates", "detections"}


def test_verify_with_a_picture_and_table(edgecv: Run, network: Path, picture: Path) -> None:
    result = edgecv("verify", network, picture)
    assert result.code == 0
    assert "no stage diverges" in result.out


def test_bench(edgecv: Run, network: Path) -> None:
    result = edgecv("bench", network, "--frames", 20, "--warmup", 2, "--threads", "1", "--json", "-")
    assert result.code == 0, result.err
    assert len(result.json["results"]) >= 1
    for row in result.json["results"]:
        total = row["latency_ms"]["end_to_end"]
        assert total["n"] == 20
        assert total["min"] <= total["p50"] <= total["p90"]
        assert total["p99"] is total["p99.9"] is None
        assert row["peak_rss_bytes"] > 0
        assert row["load_ms"] > 0
    assert result.json["machine"]


def test_bench_tells_a_plan_that_was_found(edgecv: Run, network: Path) -> None:
    given = ("bench", network, "--backend", "simd", "--frames", 2, "--warmup", 1)
    found = [edgecv(*given, "--json", "-").json["results"][0]["plan_from_cache"] for _ in range(2)]
    assert found == [False, True]
    assert "(plan from the cache)" in edgecv(*given).out


QUICK = ("--backend", "simd", "--threads", 1, "--warmup", 1, "--no-twin")


def test_bench_against_an_earlier_run(edgecv: Run, network: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.json"
    given = ("bench", network, *QUICK, "--frames", 10)
    assert edgecv(*given, "--json", before).code == 0
    result = edgecv(*given, "--compare", before, "--json", "-")
    assert result.code == 0, result.err
    (one,) = result.json["comparison"]["contenders"]
    assert one["p50"]["low"] <= one["p50"]["ratio"] <= one["p50"]["high"], "a turn is a tenth of the frames"
    assert edgecv(*given, "--compare", network).code == 2
    assert "would replace the input" in edgecv(*given, "--compare", before, "--html", before).err


def test_bench_of_several(edgecv: Run, network: Path, tmp_path: Path) -> None:
    absent = tmp_path / "absent.onnx"
    result = edgecv("bench", network, absent, *QUICK, "--frames", 3, "--batch", "1,2")
    assert result.code == 1
    assert f"absent.onnx, simd, 1 thread and 1 more: {absent}: no such file" in result.out
    assert edgecv("bench", absent, absent, *QUICK).code == 2
    assert edgecv("bench").code == 2


@pytest.mark.parametrize(
    ("typed", "text"),
    [
        (("--shape", "images"), "--shape: expected a shape such as images=1x3x640x640, got 'images'"),
        (("--shape", "images=1x0x3"), "--shape: expected a shape"),
        (("--batch", "0"), "batches: expected 1 to 1024, got 0"),
        (("--batch", "many"), "--batch: expected numbers such as 1,2"),
        (("--compare", "absent.json"), "compare: absent.json: cannot be read"),
        (("--layers", "--batch", "2"), "--batch: does not go with --layers"),
        (("--layers", "--no-twin"), "--twin: does not go with --layers"),
        (("other.onnx", "--layers"), "--layers: expected one model, got 2"),
    ],
)
def test_bench_refuses(edgecv: Run, network: Path, typed: tuple[str, ...], text: str) -> None:
    result = edgecv("bench", network, *typed)
    assert result.code == 2
    assert text in result.err


def test_bench_of_an_unknown_backend(edgecv: Run, network: Path) -> None:
    result = edgecv("bench", network, "--backend", "abacus")
    assert result.code == 2
    assert "expected one of" in result.err


@pytest.fixture
def dataset(folder: Path, tmp_path: Path) -> Path:
    """COCO json over the fixture's good pictures."""
    (folder / "3.jpg").unlink()
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 90, "height": 70} for i in (1, 2, 10)]
    annotations = [
        {"id": i, "image_id": i, "category_id": 1, "bbox": [10, 10, 40, 40], "area": 1600, "iscrowd": 0}
        for i in (1, 2, 10)
    ]
    names = ("nut", "bolt", "washer")
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(names)]
    root = tmp_path / "dataset"
    root.mkdir()
    folder.rename(root / "images")
    (root / "instances.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": categories})
    )
    return root


def test_eval(edgecv: Run, network: Path, dataset: Path) -> None:
    pytest.importorskip("hotcoco", reason="AP needs the extra eval")
    result = edgecv("eval", network, dataset, "--json", "-", "--threads", 1)
    assert result.code == 0, result.err
    report = result.json
    assert 0 <= report["AP"] <= report["AP50"] <= 1
    assert report["images"] == 3
    assert "AP50" in edgecv("eval", network, dataset, "--threads", 1).out


def test_eval_of_nothing(edgecv: Run, network: Path, tmp_path: Path) -> None:
    result = edgecv("eval", network, tmp_path / "nowhere")
    assert result.code == 2
    assert "nowhere" in result.err


@pytest.mark.parametrize("name", sorted(set(zoo.entries()) - {"parts-nano"}))
def test_verify_of_real_models(edgecv: Run, third_party_models: Path, name: str) -> None:
    verify(edgecv, name)


def test_verify_of_the_model_that_comes_along(edgecv: Run) -> None:
    verify(edgecv, "parts-nano")


def verify(edgecv: Run, name: str) -> None:
    result = edgecv("verify", name, "--json", "-")
    assert result.code == 0, result.out
    against = {(check["stage"], check["against"]) for check in result.json["checks"]}
    assert ("blob", "golden sha256") in against
    assert ("outputs", "golden") in against
