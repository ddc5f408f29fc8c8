"""A benchmark's page, from runs of the fake backends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgecv import bench
from edgecv.bench import END_TO_END
from edgecv.bench.page import to_page
from edgecv.options import LoadOptions
from edgecv.report import Section, Table, to_html
from tests.bench import bench_fakes
from tests.report.html_reader import Reader, check_self_contained

XSS = "<script>alert(1)</script>"


def measure(*backends: str, **changes: Any) -> bench.Measurement:
    values: dict[str, Any] = {
        "models": ("fake.onnx",),
        "twin": False,
        "backends": backends,
        "threads": (1,),
        "frames": 6,
        "turn": 3,
        "settle": 0,
        "warmup": 1,
        "frame_wh": (8, 4),
        "loader": "tests.bench.bench_fakes:load",
    }
    return bench.measure(bench.BenchConfig(**(values | changes)))


def page(measured: bench.Measurement) -> Reader:
    made = to_page(measured.report, command="edgecv bench fake", samples_ms=measured.samples_ms)
    return check_self_contained(to_html(made))


def texts(found: Reader, tag: str, class_: str | None = None) -> list[str]:
    return [element.text.strip() for element in found.all(tag, class_)]


@pytest.fixture(scope="module")
def mixed() -> bench.Measurement:
    """Two that work, one that does not."""
    return measure("fake", "unavailable", "chatter")


def test_samples_stand_beside_the_report(mixed: bench.Measurement) -> None:
    assert [len(samples) for samples in mixed.samples_ms] == [6, 0, 6]
    for result, samples in zip(mixed.report.results, mixed.samples_ms, strict=True):
        if result.latency_ms is not None:
            assert result.latency_ms[END_TO_END] == bench.statistics.summarize(samples)
    assert "samples_ms" not in msgspec.json.encode(mixed.report.as_dict()).decode(), "they would fill it"


def test_the_page_shows_figures_and_failures(mixed: bench.Measurement) -> None:
    found = page(mixed)
    assert texts(found, "h2") == [
        "Failures",
        "Latency",
        "Distribution",
        "Stages",
        "Start and memory",
        "What ran",
        "Conditions",
        "Reproduce",
    ]
    assert texts(found, "p", "alert") == ["1 failure"]
    assert "Could not be measured: 1 of 3." in texts(found, "p", "lead")[0]
    (item,) = found.all("li")
    for part in ("unavailable, 1 thread", "BackendUnavailableError", "it never is"):
        assert part in item.text
    body = found.all("body")[0].text
    for part in ("edgecv bench fake", "synthetic, 8 x 4", "nearest rank", "fake-chatter", "fake.onnx"):
        assert part in body
    first = mixed.report.results[0].latency_ms
    assert first is not None
    assert f"{first[END_TO_END].p50:.2f}" in texts(found, "td")
    assert "2.00" in "".join(texts(found, "td")), "inference of the fake"
    assert len(found.all("svg")) == 2 * 4


def test_the_fastest_leads(mixed: bench.Measurement) -> None:
    results = list(mixed.report.results)
    slow, fast = results[0], results[2]
    assert slow.latency_ms is not None
    total = msgspec.structs.replace(slow.latency_ms[END_TO_END], p50=9e3)
    results[0] = msgspec.structs.replace(slow, latency_ms={**slow.latency_ms, END_TO_END: total})
    changed = msgspec.structs.replace(mixed.report, results=tuple(results))
    lead = to_page(changed, command="").lead
    assert lead.startswith(f"{fast.backend}, 1 thread: ")
    assert "the fastest of 2 by its median" in lead


def test_models_are_no_race(mixed: bench.Measurement) -> None:
    several = msgspec.structs.replace(mixed.report.config, models=("a/x.onnx", "a/y.onnx"))
    results = tuple(msgspec.structs.replace(each, model="a/x.onnx") for each in mixed.report.results)
    page = to_page(msgspec.structs.replace(mixed.report, config=several, results=results), command="")
    assert page.title == "Latency of x.onnx, y.onnx"
    assert page.lead.startswith("2 were measured, which do not all do the same work.")


def test_figures_that_the_backend_does_not_decide_are_not_marked(mixed: bench.Measurement) -> None:
    sections = {each.title: each for each in to_page(mixed.report, command="").sections}
    marked = {table.caption: bool(table.best) for table in tables(sections["Stages"])}
    of = "{}, milliseconds".format
    assert marked == {
        of("Preprocess"): False,
        of("Inference"): True,
        of("Postprocess"): False,
        of("End to end"): True,
    }


def test_a_label_behind_a_whisker_names_its_figures(mixed: bench.Measurement) -> None:
    result = mixed.report.results[0]
    assert result.latency_ms is not None
    total = result.latency_ms[END_TO_END]
    assert f"p50 {total.p50:.2f}, p90 {total.p90:.2f} ms" in texts(page(mixed), "text")


def test_without_samples_there_are_no_distributions(mixed: bench.Measurement) -> None:
    titles = [section.title for section in to_page(mixed.report, command="").sections]
    assert "Distribution" not in titles
    assert "Latency" in titles


def test_nothing_could_be_measured() -> None:
    found = page(measure("unavailable", "notfound"))
    assert texts(found, "h2") == ["Failures", "Conditions", "Reproduce"]
    assert "Could not be measured: 2 of 2." in texts(found, "p", "lead")[0]
    assert len(found.all("li")) == 2


def test_names_of_others_are_text(mixed: bench.Measurement) -> None:
    config = msgspec.structs.replace(
        mixed.report.config, models=(XSS,), options=LoadOptions(weights=XSS), settings={"conf": XSS}
    )
    results = tuple(
        msgspec.structs.replace(result, backend=XSS, error=result.error and XSS, error_type=XSS)
        for result in mixed.report.results
    )
    report = msgspec.structs.replace(mixed.report, config=config, results=results)
    found = page(bench.Measurement(report, mixed.samples_ms))
    assert XSS in found.all("h1")[0].text
    assert XSS in found.all("li")[0].text
    facts = dict(zip(texts(found, "dt"), texts(found, "dd"), strict=True))
    assert (facts["Weights"], facts["Conf"]) == (XSS, XSS)
    assert any(XSS in text for text in texts(found, "text"))


def test_fallbacks_are_shown(mixed: bench.Measurement) -> None:
    first = mixed.report.results[0]
    placement = {**(first.placement or {}), "fallbacks": [{"backend": "gpu", "reason": "is not here"}]}
    results = (msgspec.structs.replace(first, placement=placement), *mixed.report.results[1:])
    found = page(bench.Measurement(msgspec.structs.replace(mixed.report, results=results), mixed.samples_ms))
    assert "Fell back from" in texts(found, "th")
    assert "gpu: is not here" in texts(found, "td")
    assert "Fell back from" not in texts(page(mixed), "th")


def test_one_turn_is_no_course() -> None:
    captions = texts(page(measure("fake", turn=50)), "figcaption")
    assert any("spread" in caption for caption in captions)
    assert not any("each turn" in caption for caption in captions)


def test_what_was_asked_for_stands_under_the_conditions() -> None:
    options = LoadOptions(imgsz=(8, 16), precision="fp16")
    found = page(measure("fake", options=options, settings={"iou": 0.25}))
    facts = dict(zip(texts(found, "dt"), texts(found, "dd"), strict=True))
    assert facts["Precision"] == "fp16"
    assert "8" in facts["Imgsz"]
    assert "16" in facts["Imgsz"]
    assert facts["Iou"] == "0.25"
    assert not {"Device", "Cache", "Labels", "Backend"} & set(facts), "defaults go without saying"


def tables(section: Section) -> list[Table]:
    return [block for block in section.blocks if isinstance(block, Table)]


def test_stages_of_other_pipelines_in_one_page() -> None:
    """Two results whose stages have nothing but the whole in common."""
    measured = measure("fake", "four")
    found = page(measured)
    three, four = (
        ["Preprocess", "Inference", "Postprocess"],
        ["Prepare", "Find regions", "Read regions", "Join"],
    )
    made = {each.title: each for each in to_page(measured.report, command="").sections}
    (latency,) = tables(made["Latency"])
    heads = [column if isinstance(column, str) else column.name for column in latency.columns]
    assert heads == ["Backend", "p50", "p99", "min", "max", *three, *four]
    assert list(latency.rows[0][5:8:2]) == [1.0, 3.0]
    assert list(latency.rows[0][8:]) == [None] * 4, "stages of the other one"
    assert list(latency.rows[1][5:8]) == [None] * 3
    assert list(latency.rows[1][8:]) == list(bench_fakes.FOUR.values())
    stages = {table.caption: [row[0] for row in table.rows] for table in tables(made["Stages"])}
    fake, other = "fake, 1 thread", "four, 1 thread"
    assert list(stages) == [f"{name}, milliseconds" for name in (*three, *four, "End to end")]
    assert list(stages.values()) == [[fake]] * 3 + [[other]] * 4 + [[fake, other]]
    legend = texts(found, "text")
    assert set(legend) >= {"preprocess", "inference", "postprocess", *bench_fakes.FOUR}
    assert END_TO_END not in legend, "it is no part of itself"


def test_a_page_of_another_pipeline_alone() -> None:
    measured = measure("four")
    body = page(measured).all("body")[0].text
    titles = [section.title for section in to_page(measured.report, command="").sections]
    for stage in ("Prepare", "Find regions", "Read regions", "Join", "End to end"):
        assert f"{stage}, milliseconds" in body
    assert "nference" not in body, "no stage that the pipeline does not have"
    assert titles == [section.title for section in to_page(measure("fake").report, command="").sections]
