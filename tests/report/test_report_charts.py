"""Charts: well-formed whatever comes in, nothing outside the drawing, and what is left out is said."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.report import Chart, svg, to_svg
from edgecv.report.charts import (
    Bar,
    Drawing,
    Samples,
    Series,
    Stack,
    bars,
    elements,
    histogram,
    lines,
    nice_ticks,
    scale,
    stacked_bars,
)
from tests.report.drawn import ANY, HOSTILE, INF, LONG, NAN, XML, Drawn

CASES: dict[str, Callable[[], Drawing]] = {
    "bars, none": lambda: bars([]),
    "bars, one": lambda: bars([Bar("a", 3.0)]),
    "bars, zeros": lambda: bars([Bar("a", 0.0), Bar("b", 0.0)]),
    "bars, negative": lambda: bars([Bar("a", -3.0), Bar("b", 5.0, -1.0, 9.0)]),
    "bars, nothing finite": lambda: bars([Bar("a", NAN), Bar("b", INF), Bar("c", None), Bar("d", -INF)]),
    "bars, whiskers not finite": lambda: bars([Bar("a", 1.0, NAN, 2.0), Bar("b", 2.0, 1.0, INF)]),
    "bars, huge": lambda: bars([Bar("a", 1e199), Bar("b", 1.0), Bar("c", 1e300)], spec=".2f", unit="ms"),
    "bars, tiny": lambda: bars([Bar("a", 5e-324), Bar("b", 1e-310)]),
    "bars, hundreds": lambda: bars([Bar(f"class {i}", i / 300) for i in range(300)]),
    "bars, long labels": lambda: bars([Bar(LONG, 1.0), Bar("b", 2.0)], unit=LONG),
    "bars, hostile": lambda: bars([Bar(HOSTILE, 1.0, 0.0, 2.0), Bar("", None)], unit=HOSTILE),
    "bars, far beyond the colors": lambda: bars([Bar("a", 1.0, color=1000)]),
    "stacks, none": lambda: stacked_bars(["x"], []),
    "stacks, no parts": lambda: stacked_bars([], [Stack("a", [])]),
    "stacks, one": lambda: stacked_bars(["x", "y"], [Stack("a", [1.0, 2.0])]),
    "stacks, not finite": lambda: stacked_bars(["x", "y"], [Stack("a", [NAN, 2.0]), Stack("b", [None, -1])]),
    "stacks, huge": lambda: stacked_bars(["x", "y"], [Stack("a", [1e199, 1e-300])], spec=".3f"),
    "stacks, hostile": lambda: stacked_bars([HOSTILE], [Stack(HOSTILE, [1.0])]),
    "stacks, long labels": lambda: stacked_bars([LONG, LONG], [Stack(LONG, [1.0, 2.0])]),
    "lines, none": lambda: lines([]),
    "lines, empty": lambda: lines([Series("a", [], [])]),
    "lines, one point": lambda: lines([Series("a", [3], [4])], x_label="x", y_label="y"),
    "lines, a point far out": lambda: lines([Series("a", [1e16], [-1e16])]),
    "lines, level": lambda: lines([Series("a", range(5), [2.0] * 5)]),
    "lines, not finite": lambda: lines([Series("a", [0, 1, 2, NAN, 4], [1, NAN, 2, 3, INF])]),
    "lines, nothing finite": lambda: lines([Series("a", [NAN], [1.0])], x_label="x"),
    "lines, huge": lambda: lines([Series("a", [-1e200, 1e200], [1e200, -1e200])]),
    "lines, beyond range": lambda: lines([Series("a", [1, 2, 3], [1e308, -1e308, 1.0])]),
    "lines, tiny": lambda: lines([Series("a", [0, 5e-324], [0, 1e-320])]),
    "lines, nearly level": lambda: lines([Series("a", [0, 1], [1e9, 1e9 + 1e-6])]),
    "lines, log": lambda: lines([Series("a", [1, 10, 1000], [0.5, 3, 700])], x_log=True, y_log=True),
    "lines, log of one": lambda: lines([Series("a", [7], [7])], x_log=True, y_log=True),
    "lines, log of nothing above zero": lambda: lines([Series("a", [0, -1], [1, 2])], x_log=True),
    "lines, log wide": lambda: lines([Series("a", [1e-199, 1e199], [1e-300, 5])], x_log=True, y_log=True),
    "lines, thousands": lambda: lines([Series("a", range(50_000), np.sin(np.arange(50_000)).tolist())]),
    "lines, many": lambda: lines([Series(f"s{i}", [0, 1], [i, i + 1]) for i in range(40)]),
    "lines, long labels": lambda: lines([Series(LONG, [0, 1], [0, 1])] * 2, x_label=LONG, y_label=LONG),
    "lines, hostile": lambda: lines([Series(HOSTILE, [0, 1], [0, 1])] * 2, x_label=HOSTILE, y_label=HOSTILE),
    "lines, arrays": lambda: lines([Series("a", np.arange(3), np.ones(3, np.float32))]),  # type: ignore[arg-type]
    "histogram, none": lambda: histogram([]),
    "histogram, empty": lambda: histogram([Samples("a", [])]),
    "histogram, one empty": lambda: histogram([Samples("a", []), Samples("b", [1.0, 2.0], mark=1.0)]),
    "histogram, one value": lambda: histogram([Samples("a", [5.0], mark=5.0)]),
    "histogram, all alike": lambda: histogram([Samples("a", [5.0] * 90)], x_label="ms"),
    "histogram, not finite": lambda: histogram([Samples("a", [1.0, NAN, INF, 2.0], mark=NAN)]),
    "histogram, huge": lambda: histogram([Samples("a", [-1e200, 1e200]), Samples("b", [0.0])]),
    "histogram, a mark far out": lambda: histogram([Samples("a", [1.0, 2.0], mark=1e9)]),
    "histogram, tail": lambda: histogram([Samples("a", [float(i % 10) for i in range(500)] + [1e6] * 3)]),
    "histogram, hostile": lambda: histogram([Samples(HOSTILE, [1.0, 2.0], note=HOSTILE)], x_label=HOSTILE),
    "histogram, long labels": lambda: histogram([Samples(LONG, [1.0], note=LONG)], x_label=LONG),
}


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_drawing(name: str) -> None:
    drawn = Drawn(CASES[name]())
    assert drawn.texts(0), "something is said"
    assert drawn.texts(1)


@pytest.mark.parametrize("name", [name for name in CASES if "hostile" in name])
def test_hostile_labels_are_text(name: str) -> None:
    drawn = Drawn(CASES[name]())
    assert drawn.count("script") == 0
    assert any("</text></svg><script>alert(1)</script>&\"'\ufffd\ufffd" in each for each in drawn.titles())


@settings(max_examples=40)
@given(st.lists(st.tuples(st.text(max_size=20), ANY, ANY, ANY), max_size=8))
def test_bars_of_anything(rows: list[tuple[str, Any, Any, Any]]) -> None:
    drawn = Drawn(bars([Bar(label, value, low, high) for label, value, low, high in rows], unit="ms"))
    good = sum(scale.is_plottable(value) for _, value, _, _ in rows)
    assert len(drawn.filled()) == len(drawn.filled(drawing=1)) == good


@settings(max_examples=40)
@given(st.lists(st.lists(ANY, min_size=3, max_size=3), max_size=6))
def test_stacks_of_anything(rows: list[list[Any]]) -> None:
    drawn = Drawn(stacked_bars("abc", [Stack(str(i), parts) for i, parts in enumerate(rows)]))
    lost = sum(not (scale.is_plottable(v) and v >= 0) for parts in rows for v in parts)
    assert [note.split()[2] for note in drawn.notes] == ([str(lost)] if lost else [])


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(ANY, ANY), max_size=12), max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_lines_of_anything(series: list[list[tuple[Any, Any]]], x_log: bool, y_log: bool) -> None:
    chart = lines(
        [Series(str(i), [x for x, _ in each], [y for _, y in each]) for i, each in enumerate(series)],
        x_log=x_log,
        y_log=y_log,
        x_label="x",
        y_label="y",
    )
    lost = sum(
        not (scale.is_plottable(x, is_log=x_log) and scale.is_plottable(y, is_log=y_log))
        for each in series
        for x, y in each
    )
    assert [note.split()[2] for note in Drawn(chart).notes] == ([str(lost)] if lost else [])


@settings(max_examples=40)
@given(st.lists(st.lists(ANY, max_size=30), max_size=3))
def test_histograms_of_anything(series: list[list[Any]]) -> None:
    drawn = Drawn(histogram([Samples(str(i), values, mark=1.0) for i, values in enumerate(series)]))
    lost = sum(not scale.is_plottable(v) for values in series for v in values)
    assert [note.split()[2] for note in drawn.notes] == ([str(lost)] if lost else [])


# --- what the drawings show -----------------------------------------------------------------------


def test_bars_are_as_long_as_their_values() -> None:
    first, second = Drawn(bars([Bar("a", 10.0), Bar("b", 20.0)])).filled()
    assert float(second.attrib["width"]) == pytest.approx(2 * float(first.attrib["width"]), abs=0.2)
    assert first.attrib["x"] == second.attrib["x"]


def test_a_bar_says_its_value_or_why_it_has_none() -> None:
    drawn = Drawn(bars([Bar("a", 1.5, 1.0, 2.0), Bar("b", NAN), Bar("c", None), Bar("d", -2.0)], unit="ms"))
    assert {"a", "1.5 ms", "NaN", "–", "−2 ms"} <= set(drawn.texts())  # noqa: RUF001
    assert "a: 1.5 ms (1 ms to 2 ms)" in drawn.titles()


NAMES = ["yolox-nano-416, onnxruntime, 2 threads, batch 2", "parts-nano, simd, 1 thread"]
WORDS = "p50 1234.56, p99 7890.12 ms"
NAMED: dict[str, Callable[[], Drawing]] = {
    "bars": lambda: bars([Bar(name, 5.0, 1.0, 9.0, words=WORDS) for name in NAMES]),
    "stacks": lambda: stacked_bars(["a", "b"], [Stack(name, [1, 2]) for name in NAMES], unit="ms"),
    "histogram": lambda: histogram([Samples(name, [1, 2, 3], note=WORDS) for name in NAMES]),
}


@pytest.mark.parametrize("drawing", [0, 1], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", NAMED)
def test_names_and_words_of_usual_length_are_whole(name: str, drawing: int) -> None:
    shown = " ".join(Drawn(NAMED[name]()).texts(drawing))
    assert "…" not in shown
    for words in (*NAMES, *([WORDS] if name != "stacks" else [])):
        assert words in shown


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ("", []),
        ("ab cd", ["ab cd"]),
        ("abcd efgh ijkl", ["abcd efgh", "ijkl"]),
        ("abcdefghijklmnop", ["abcdefghi…"]),
        ("aaaaaaaa bbbbbbbb cccccccc d", ["aaaaaaaa", "bbbbbbbb…"]),
    ],
)
def test_lines_of_words(words: str, lines: list[str]) -> None:
    assert elements.wrapped(words, 10.1 * elements.LETTER, 1, most=2) == lines


def test_stacks_end_at_their_sum() -> None:
    drawn = Drawn(stacked_bars(["x", "y"], [Stack("a", [3.0, 1.0]), Stack("b", [4.0, 0.0])], unit="ms"))
    ends = [float(each.attrib["x"]) + float(each.attrib["width"]) for each in drawn.filled()[2:]]
    assert ends[1] == pytest.approx(ends[2], abs=0.2)
    assert drawn.texts().count("4 ms") == 2
    assert {"x", "y"} <= set(drawn.texts()), "a legend"


def test_colors_of_stacks() -> None:
    chart = stacked_bars(["x", "y"], [Stack("a", [3.0, 1.0])], colors=[5, 6])
    classes = {each.get("class") for each in Drawn(chart).drawings[0].iter(f"{XML}g")}
    assert {"c5 d5", "c6 d0"} <= classes


def test_a_gap_stays_a_gap() -> None:
    drawn = Drawn(lines([Series("a", range(7), [1, 2, NAN, 3, NAN, 4, 5])]))
    assert drawn.count("path") == 2
    assert drawn.notes == ["Left out: 2 points, not finite."]
    assert any(title.startswith("a: 3, 3") for title in drawn.titles()), "the lonely point has a marker"


def test_no_spike_is_thinned_away() -> None:
    values = [1.0] * 40_000
    values[12_345] = 99.0
    values[23_456] = -99.0
    drawn = Drawn(lines([Series("a", range(40_000), values)]))
    (path,) = (each for each in drawn.drawings[0].iter(f"{XML}path"))
    ys = [float(pair.split(",")[1]) for pair in path.attrib["d"][1:].split("L")]
    assert len(ys) < 4000
    frame = [float(each.attrib["y1"]) for each in drawn.drawings[0].iter(f"{XML}line")]
    assert min(ys) == pytest.approx(min(frame), abs=2)
    assert max(ys) == pytest.approx(max(frame), abs=2)


def test_series_differ_by_more_than_color() -> None:
    styles = [elements.series_class(i) for i in range(24)]
    assert len(set(styles)) == 24
    assert len({style.split()[1] for style in styles[:6]}) == 6
    shapes = [elements.marker(i, 0, 0) for i in range(elements.MARKERS)]
    assert len(set(shapes)) == elements.MARKERS


def test_one_series_needs_no_legend() -> None:
    assert "only" not in Drawn(lines([Series("only", [0, 1], [0, 1])])).texts()
    assert "both" in Drawn(lines([Series("both", [0, 1], [0, 1])] * 2)).texts()


def test_a_histogram_counts_its_values() -> None:
    drawn = Drawn(histogram([Samples("a", [1.0, 1.0, 1.0, 2.0], mark=1.0, note="p50 1")], x_label="ms"))
    assert len(drawn.filled()) == 2
    tall, low = sorted((float(each.attrib["height"]) for each in drawn.filled()), reverse=True)
    assert tall == pytest.approx(3 * low, abs=0.2)
    assert {"a", "p50 1", "ms"} <= set(drawn.texts())
    assert "a: 4 values" in drawn.titles()


def test_a_long_tail_is_cut_and_counted() -> None:
    values = [float(i % 10) for i in range(1000)]
    drawn = Drawn(histogram([Samples("a", [*values, 1e6, 2e6])]))
    assert "2 beyond, up to 2e+06" in drawn.texts()
    assert not [text for text in Drawn(histogram([Samples("a", values)])).texts() if "beyond" in text]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(lambda: lines([Series("a", [1, 2], [1])]), "got 2 and 1", id="x without y"),
        pytest.param(
            lambda: stacked_bars(["x"], [Stack("a", [1, 2])]), "expected 1 parts of 'a'", id="parts"
        ),
        pytest.param(lambda: stacked_bars(["x"], [], colors=[1, 2]), "colors", id="colors"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


# --- what a drawing carries ------------------------------------------------------------------------


def test_a_drawing_is_a_value() -> None:
    first, second = (lines([Series("a", [1, 2, NAN], [3, 4, 5])], x_label="x") for _ in range(2))
    assert first == second
    assert first != lines([Series("a", [1, 2, NAN], [3, 4, 6])], x_label="y")
    assert first.wide.size_wh == (760, 370)
    assert first.narrow.size_wh[0] == 310
    assert first.notes == ("Left out: 1 point, not finite.",)
    with pytest.raises(AttributeError):
        first.notes = ()  # type: ignore[misc]


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda: bars([Bar("a", 1, 0, 2), Bar("b", None)]), "a: 1 (0 to 2); b: –", id="bars"),  # noqa: RUF001
        pytest.param(lambda: stacked_bars("xy", [Stack("a", [1, 2])], unit="ms"), "a: 3 ms", id="stacks"),
        pytest.param(
            lambda: lines([Series("a", [1, 2], [3, NAN]), Series("b", [1, 2], [3, 4])]),
            "a: 1 point; b: 2 points",
            id="lines",
        ),
        pytest.param(lambda: histogram([Samples("a", [1.0, 2.0])]), "a: 2 values", id="histogram"),
        pytest.param(lambda: bars([]), "nothing to show", id="nothing"),
        pytest.param(
            lambda: bars([Bar(str(i), i) for i in range(20)]),
            "; ".join(f"{i}: {i}" for i in range(12)) + "; and 8 more",
            id="many",
        ),
    ],
)
def test_what_a_drawing_says_in_words(make: Callable[[], Drawing], expected: str) -> None:
    assert make().description == expected
    root = ElementTree.fromstring(svg.inline(make()))
    assert [each.attrib["aria-label"] for each in root.iter(f"{XML}svg")] == [expected] * 2


def test_a_description_is_bounded() -> None:
    assert len(bars([Bar("x" * 10**4, 1.0)] * 20).description) < 2000


# --- axes -----------------------------------------------------------------------------------------

SANE = st.floats(-1e150, 1e150, allow_subnormal=False)


@given(SANE, SANE, st.integers(5, 12))
def test_ticks_are_round_and_inside(one: float, other: float, count: int) -> None:
    low, high = scale.spread(min(one, other), max(one, other))
    ticks = nice_ticks(low, high, count)
    assert 2 <= len(ticks) <= count + 1
    assert all(low <= tick <= high for tick in ticks)
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    assert all(step > 0 for step in steps)
    digits = f"{steps[0]:.0e}"[0]
    assert digits in "125"
    noise = 4 * max(map(abs, ticks)) * np.finfo(float).eps
    assert all(abs(step - steps[0]) <= noise for step in steps)


@pytest.mark.parametrize(
    ("low", "high", "count", "expected"),
    [
        pytest.param(0, 1, 5, (0, 0.2, 0.4, 0.6, 0.8, 1), id="one in five"),
        pytest.param(0.1, 0.5, 5, (0.1, 0.2, 0.3, 0.4, 0.5), id="ends count"),
        pytest.param(-3, 7, 5, (-2, 0, 2, 4, 6), id="over zero"),
        pytest.param(1234, 1236, 5, (1234, 1234.5, 1235, 1235.5, 1236), id="far from zero"),
        pytest.param(0, 3e150, 5, (0, 1e150, 2e150, 3e150), id="huge"),
    ],
)
def test_ticks(low: float, high: float, count: int, expected: tuple[float, ...]) -> None:
    assert nice_ticks(low, high, count) == expected


@given(st.lists(SANE, max_size=20), st.booleans(), st.booleans())
def test_an_axis_covers_its_values(values: list[float], is_tight: bool, is_whole: bool) -> None:
    found = scale.axis(values, is_tight=is_tight, is_whole=is_whole)
    assert found.low < found.high
    assert all(found.low <= value <= found.high for value in values)
    labels = [tick.label for tick in found.ticks]
    assert len(set(labels)) == len(labels)
    place = found.scale(0, 100)
    assert all(-1e-6 <= place(value) <= 100 + 1e-6 for value in [*values, *(t.value for t in found.ticks)])


@given(st.lists(st.floats(1e-190, 1e190), min_size=1, max_size=20))
def test_a_logarithmic_axis_covers_its_values(values: list[float]) -> None:
    found = scale.axis(values, is_log=True)
    assert all(found.low <= value <= found.high for value in values)
    assert len(found.ticks) >= 2
    assert [t.value for t in found.ticks] == sorted({t.value for t in found.ticks})
    labels = [tick.label for tick in found.ticks]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize(
    ("values", "options", "expected"),
    [
        pytest.param([0, 0.5], {}, ["0", "0.1", "0.2", "0.3", "0.4", "0.5"], id="fractions"),
        pytest.param([-2, 2], {}, ["−2", "−1", "0", "1", "2"], id="a true minus"),  # noqa: RUF001
        pytest.param([0, 2e6], {}, ["0", "0.5e6", "1.0e6", "1.5e6", "2.0e6"], id="one power of ten"),
        pytest.param([0, 3e-7], {}, ["0", "1e−7", "2e−7", "3e−7"], id="small"),  # noqa: RUF001
        pytest.param([1, 3], {"is_whole": True}, ["1", "2", "3"], id="whole numbers"),
        pytest.param([1, 1000], {"is_log": True}, ["1", "10", "100", "1000"], id="decades"),
        pytest.param([1, 10], {"is_log": True}, ["1", "2", "5", "10"], id="within a decade"),
        pytest.param([], {}, ["0", "0.2", "0.4", "0.6", "0.8", "1.0"], id="nothing"),
    ],
)
def test_labels(values: list[float], options: dict[str, Any], expected: list[str]) -> None:
    assert [tick.label for tick in scale.axis(values, **options).ticks] == expected


def test_numpy_scalars_are_numbers() -> None:
    one, two = np.float32(1.1), np.float32(2.2)
    for chart in (bars([Bar("a", two, one, two)]), histogram([Samples("a", [one, two], mark=one)])):  # type: ignore[list-item, arg-type]
        assert all(len(number) < 8 for number in re.findall(r'"(-?[\d.]+)"', svg.inline(chart)))


@given(st.text(max_size=60), st.floats(40, 400))
def test_shortened_words_fit(words: str, width: float) -> None:
    short = elements.shorten(words, width, 13)
    assert elements.text_width(short, 13) <= width + 1e-6
    whole = " ".join(words.split())
    assert short == whole or whole.startswith(short[:-1])


def test_a_label_without_end_is_cut_quickly() -> None:
    assert len(elements.shorten("x" * 10**6, 100, 13)) < 20


def test_a_chart_as_a_picture_of_its_own() -> None:
    text = to_svg(Chart(bars([Bar("a <b>", 3.0), Bar("b", 1.0)], unit="ms"), "p50 & more"))
    root = ElementTree.fromstring(text)
    assert root.tag == f"{XML}svg"
    assert [child.text for child in root if child.tag.endswith("title")] == ["p50 & more"]
    assert [child.text for child in root if child.tag.endswith("desc")] == ["a <b>: 3 ms; b: 1 ms"]
    assert root.attrib["viewBox"] == "-12 -12 784 109"
    assert "--c0" in text
    assert "url(" not in text
    assert "narrow" not in text.split("</style>")[1]
