"""A benchmark's page, from runs of the fake backends."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edgecv import bench
from edgecv.bench.page import to_page
from edgecv.report import to_html
from tests.report.html_reader import Reader, check_self_contained

XSS = "<script>alert(1)</script>"


def measure(*backends: str, **changes: Any) -> bench.Measurement:
    values: dict[str, Any] = {
        "model": "fake.onnx",
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
            assert result.latency_ms.end_to_end == bench.statistics.summarize(samples)
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
    assert f"{first.end_to_end.p50:.2f}" in texts(found, "td")
    assert "2.00" in "".join(texts(found, "td")), "inference of the fake"
    assert len(found.all("svg")) == 2 * 4


def test_the_fastest_leads(mixed: bench.Measurement) -> None:
    results = list(mixed.report.results)
    slow, fast = results[0], results[2]
    assert slow.latency_ms is not None
    total = slow.latency_ms.end_to_end
    results[0] = msgspec.structs.replace(
        slow,
        latency_ms=msgspec.structs.replace(
            slow.latency_ms, end_to_end=msgspec.structs.replace(total, p50=9e3)
        ),
    )
    changed = msgspec.structs.replace(mixed.report, results=tuple(results))
    lead = to_page(changed, command="").lead
    assert lead.startswith(f"{fast.backend}, 1 thread: ")
    assert "the fastest of 2" in lead


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
    config = msgspec.structs.replace(mixed.report.config, model=XSS, weights=XSS)
    results = tuple(
        msgspec.structs.replace(result, backend=XSS, error=result.error and XSS, error_type=XSS)
        for result in mixed.report.results
    )
    report = msgspec.structs.replace(mixed.report, config=config, results=results)
    found = page(bench.Measurement(report, mixed.samples_ms))
    assert XSS in found.all("h1")[0].text
    assert XSS in found.all("li")[0].text
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
