"""Heat maps: cells in their places, colors that rise with the values, and words that can be read."""

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
from edgecv.report.charts import Drawing, heat_map, scale
from edgecv.report.charts.drawing import NARROW, WIDE
from edgecv.report.charts.elements import text_width
from edgecv.report.charts.heat_map import CELL_HEIGHT, CELL_WIDTH, SWITCH
from tests.report.drawn import ANY, HOSTILE, INF, LONG, NAN, XML, Drawn

COLORS = svg.FILES.joinpath("colors.css").read_text(encoding="utf-8")
THEMES = {"light": COLORS.split("@media")[0], "dark": COLORS.split("@media")[1]}


class Cells:
    """The cells of a heat map, by the names of row and column."""

    def __init__(self, drawn: Drawn, drawing: int = 0) -> None:
        self.rects: dict[str, ElementTree.Element] = {}
        self.words: dict[str, ElementTree.Element] = {}
        self.hints: dict[str, str] = {}
        for group in drawn.drawings[drawing].iter(f"{XML}g"):
            title = group.find(f"{XML}title")
            if title is None:
                continue
            place, _, value = (title.text or "").rpartition(": ")
            self.hints[place] = value
            (self.rects[place],) = group.findall(f"{XML}rect")
            for words in group.findall(f"{XML}text"):
                self.words[place] = words

    def box(self, place: str) -> list[float]:
        return [float(self.rects[place].attrib[name]) for name in ("x", "y", "width", "height")]

    def opacity(self, place: str) -> float:
        assert self.rects[place].attrib["class"] == "heat"
        return float(self.rects[place].attrib["fill-opacity"])


def square(n: int, make: Callable[[int, int], Any] = lambda i, j: i * j) -> Drawing:
    names = [f"class {i}" for i in range(n)]
    return heat_map(
        [[make(i, j) for j in range(n)] for i in range(n)], names, names, x_label="x", y_label="y"
    )


CASES: dict[str, Callable[[], Drawing]] = {
    "none": lambda: heat_map([], [], []),
    "no columns": lambda: heat_map([[], []], ["a", "b"], []),
    "no rows": lambda: heat_map([], [], ["a", "b"]),
    "one": lambda: heat_map([[3.0]], ["a"], ["b"]),
    "zeros": lambda: heat_map([[0, 0], [0, 0]], ["a", "b"], ["c", "d"]),
    "negative": lambda: heat_map([[-3, 4]], ["a"], ["c", "d"]),
    "level, range of its own": lambda: heat_map([[3, 3]], ["a"], ["c", "d"], at_least=()),
    "nothing that can be drawn": lambda: heat_map([[None, NAN], [INF, -INF]], ["a", "b"], ["c", "d"]),
    "huge": lambda: heat_map([[1e199, -1e199, 1e300]], ["a"], ["c", "d", "e"], spec=".2f"),
    "tiny": lambda: heat_map([[5e-324, 1e-310]], ["a"], ["c", "d"]),
    "many": lambda: square(80),
    "far too many": lambda: square(100),
    "a row of many": lambda: heat_map([range(200)], ["a"], [str(j) for j in range(200)]),
    "a column of many": lambda: heat_map([[i] for i in range(200)], [str(i) for i in range(200)], ["a"]),
    "long labels": lambda: heat_map([[1, 2]] * 2, [LONG] * 2, [LONG] * 2, x_label=LONG, y_label=LONG),
    "no labels": lambda: heat_map([[1, 2]], [""], ["", ""]),
    "hostile": lambda: heat_map([[1, 2]], [HOSTILE], [HOSTILE] * 2, x_label=HOSTILE, y_label=HOSTILE),
    "arrays": lambda: heat_map(np.eye(3), "abc", "def"),  # type: ignore[arg-type]
    "at least nothing finite": lambda: heat_map([[1, 2]], ["a"], ["b", "c"], at_least=(NAN, INF)),
}


@pytest.mark.parametrize("name", CASES)
def test_every_case_is_a_drawing(name: str) -> None:
    drawn = Drawn(CASES[name]())
    assert drawn.texts(0), "something is said"
    assert drawn.texts(1)


def test_hostile_labels_are_text() -> None:
    drawn = Drawn(CASES["hostile"]())
    assert drawn.count("script") == 0
    shown = "</text></svg><script>alert(1)</script>&\"'\ufffd\ufffd"
    assert [title.count(shown) for title in drawn.titles()] == [2, 2]
    text = to_svg(Chart(CASES["hostile"](), HOSTILE))
    assert "<script" not in text
    ElementTree.fromstring(text)


# --- cells ----------------------------------------------------------------------------------------


def test_cells_stand_in_rows_and_columns() -> None:
    drawn = Drawn(heat_map([[0, 1], [2, 4]], ["a", "b"], ["c", "d"]))
    for drawing, layout in enumerate((WIDE, NARROW)):
        left = round(text_width("a", layout.font) + 8, 1)
        top = 2 + 10 + layout.font + 2 + 12
        cells = Cells(drawn, drawing)
        assert {place: cells.box(place) for place in cells.rects} == {
            "a, c": pytest.approx([left, top, CELL_WIDTH, CELL_HEIGHT], abs=0.11),
            "a, d": pytest.approx([left + 64, top, CELL_WIDTH, CELL_HEIGHT], abs=0.11),
            "b, c": pytest.approx([left, top + 32, CELL_WIDTH, CELL_HEIGHT], abs=0.11),
            "b, d": pytest.approx([left + 64, top + 32, CELL_WIDTH, CELL_HEIGHT], abs=0.11),
        }
        middles = {place: [float(each.attrib[at]) for at in "xy"] for place, each in cells.words.items()}
        assert middles["b, d"] == pytest.approx([left + 96, top + 48 + 4], abs=0.2)


def test_a_cell_is_colored_by_its_share_of_the_range() -> None:
    cells = Cells(Drawn(heat_map([[0, 1], [2, 4]], ["a", "b"], ["c", "d"])))
    assert [cells.opacity(place) for place in ("a, c", "a, d", "b, c", "b, d")] == [0, 0.25, 0.5, 1]


@pytest.mark.parametrize(
    ("values", "at_least", "expected"),
    [
        pytest.param([0.1, 0.3], (0, 1), [0.1, 0.3], id="shares"),
        pytest.param([5, 5], (0,), [0.833, 0.833], id="level, from zero to a round number"),
        pytest.param([0, 0], (0,), [0, 0], id="zeros are low"),
        pytest.param([0, 0], (0, 10), [0, 0], id="zeros of a given range"),
        pytest.param([-2, 2], (0,), [0, 1], id="on both sides of zero"),
        pytest.param([10, 20], (), [0, 1], id="not from zero"),
    ],
)
def test_ranges(values: list[float], at_least: tuple[float, ...], expected: list[float]) -> None:
    cells = Cells(Drawn(heat_map([values], ["a"], ["c", "d"], at_least=at_least)))
    assert [cells.opacity(place) for place in ("a, c", "a, d")] == expected


def test_the_color_scale_names_its_ends() -> None:
    drawn = Drawn(heat_map([[0, 140]], ["a"], ["c", "d"]))
    ticks = [each for each in drawn.drawings[0].iter(f"{XML}text") if each.get("class") == "tick"]
    assert [each.text for each in ticks] == ["0", "50", "100", "150"]
    bar = next(each for each in drawn.drawings[0].iter(f"{XML}g") if each.get("shape-rendering"))
    shares = [float(each.attrib["fill-opacity"]) for each in bar if each.get("class") == "heat"]
    assert shares == sorted(set(shares))
    assert (shares[0], shares[-1]) == (0, 1)
    last = bar[-1]
    assert float(last.attrib["x"]) + float(last.attrib["width"]) == pytest.approx(182, abs=0.2)
    assert float(ticks[-1].attrib["x"]) == pytest.approx(182, abs=0.2)


@settings(max_examples=40)
@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(ANY, min_size=n, max_size=n), max_size=5)))
def test_colors_rise_with_the_values(values: list[list[Any]]) -> None:
    columns = [str(j) for j in range(len(values[0]))] if values else ["0"]
    drawn = Drawn(heat_map(values, [str(i) for i in range(len(values))], columns))
    for drawing in (0, 1):
        cells = Cells(drawn, drawing)
        assert len(cells.rects) == sum(map(len, values))
        known = []
        for (i, row), (j, _) in itertools.product(enumerate(values), enumerate(columns)):
            if scale.is_plottable(row[j]):
                known.append((float(row[j]), cells.opacity(f"{i}, {j}")))
            else:
                assert cells.rects[f"{i}, {j}"].attrib["class"] == "heat-none"
        assert all(0 <= share <= 1 for _, share in known)
        shares = [share for _, share in sorted(known)]
        assert shares == sorted(shares)


def test_a_cell_without_a_value_says_why() -> None:
    values = [[1, None, NAN, INF, 10**400]]
    cells = Cells(Drawn(heat_map(values, ["a"], list("bcdef"))))
    missing = {place for place, rect in cells.rects.items() if rect.attrib["class"] == "heat-none"}
    assert missing == {"a, c", "a, d", "a, e", "a, f"}
    assert list(cells.hints.values()) == ["1", "–", "NaN", "∞", "beyond range"]  # noqa: RUF001
    assert cells.words["a, c"].text == "–"  # noqa: RUF001
    assert cells.words["a, c"].attrib["class"] == "inside muted"


def test_values_are_written_where_they_fit() -> None:
    cells = Cells(Drawn(heat_map([[12, 0.5]], ["a"], ["c", "d"], spec=".1f")))
    assert {place: each.text for place, each in cells.words.items()} == {"a, c": "12.0", "a, d": "0.5"}
    cells = Cells(Drawn(heat_map([[7, 123456789012345]], ["a"], ["c", "d"], spec="")))
    assert list(cells.words) == ["a, c"], "the other has no room"
    assert cells.hints["a, d"] == "123456789012345"
    many = Drawn(square(80))
    assert not Cells(many).words
    assert Cells(many).hints["class 3, class 5"] == "15"
    assert len(Cells(many).rects) == 6400


def test_every_word_stands_within_its_cell() -> None:
    for n in range(1, 30, 4):
        for drawing in (0, 1):
            cells = Cells(Drawn(square(n, lambda i, j: 10 ** (i % 7) + j)), drawing)
            for place, words in cells.words.items():
                x, y, width, height = cells.box(place)
                half = text_width(words.text or "", 11) / 2
                middle, base = float(words.attrib["x"]), float(words.attrib["y"])
                assert x <= middle - half <= middle + half <= x + width
                assert y <= base - 9 <= base <= y + height


# --- labels ---------------------------------------------------------------------------------------


def test_columns_are_as_wide_as_their_labels_where_there_is_room() -> None:
    drawn = Drawn(heat_map([[1, 2]], ["a"], ["a long label", "b"]))
    assert Cells(drawn).box("a, b")[2] == pytest.approx(text_width("a long label", 13) + 6, abs=0.1)
    assert not [each for each in drawn.drawings[0].iter(f"{XML}text") if each.get("transform")]


@pytest.mark.parametrize("n", [3, 12, 25, 80, 130])
@pytest.mark.parametrize("drawing", [0, 1])
def test_labels_stand_at_their_cells_and_apart(n: int, drawing: int) -> None:
    drawn = Drawn(square(n))
    font = (WIDE, NARROW)[drawing].font
    cells = Cells(drawn, drawing)
    names = [
        each for each in drawn.drawings[drawing].iter(f"{XML}text") if (each.text or "").startswith("class")
    ]
    rows = [each for each in names if each.get("text-anchor") == "end" and not each.get("transform")]
    columns = [each for each in names if each not in rows]
    assert len(rows) >= 2
    assert len(columns) >= 2
    for row in rows:
        _, y, _, height = cells.box(f"{row.text}, class 0")
        assert float(row.attrib["y"]) == pytest.approx(y + height / 2 + font * 0.34, abs=0.2)
    for column in columns:
        x, _, width, _ = cells.box(f"class 0, {column.text}")
        shift = font * 0.34 if column.get("transform") else 0
        assert float(column.attrib["x"]) == pytest.approx(x + width / 2 + shift, abs=0.2)
    ys = [float(each.attrib["y"]) for each in rows]
    assert all(after - before >= font for before, after in itertools.pairwise(ys))
    xs = [float(each.attrib["x"]) for each in columns]
    room = font if columns[0].get("transform") else max(text_width(each.text or "", font) for each in columns)
    assert all(after - before >= room for before, after in itertools.pairwise(xs))


def test_both_axes_are_named() -> None:
    assert {"true", "predicted"} <= set(
        Drawn(heat_map([[1]], ["a"], ["b"], x_label="predicted", y_label="true")).texts()
    )


def test_what_it_says_in_words() -> None:
    chart = heat_map([[0.5, None], [1, 0]], ["a", "b"], ["c", "d"], spec=".0%")
    assert chart.description == "a: c 50%, d –; b: c 100%, d 0%"  # noqa: RUF001


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(
            lambda: heat_map([[1]], ["a", "b"], ["c"]), "expected 2 rows of values, got 1", id="rows"
        ),
        pytest.param(
            lambda: heat_map([[1, 2], [1]], ["a", "b"], ["c", "d"]), "2 values in row 'b', got 1", id="ragged"
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


# --- colors ---------------------------------------------------------------------------------------


def channels(theme: str, name: str) -> list[float]:
    (found,) = re.findall(rf"--{name}: #([0-9a-f]{{6}});", THEMES[theme])
    return [int(found[i : i + 2], 16) for i in (0, 2, 4)]


def luminance(color: list[float]) -> float:
    """Relative luminance of WCAG 2.1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: list[float], other: list[float]) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def blend(theme: str, share: float) -> list[float]:
    """What a browser shows for a cell."""
    ends = zip(channels(theme, "heat-low"), channels(theme, "heat-high"), strict=True)
    return [low + (high - low) * share for low, high in ends]


@pytest.mark.parametrize("theme", THEMES)
def test_the_color_scale_is_told_by_lightness_alone(theme: str) -> None:
    shades = [luminance(blend(theme, i / 100)) for i in range(101)]
    steps = [after - before for before, after in itertools.pairwise(shades)]
    assert all(step < 0 for step in steps) or all(step > 0 for step in steps)
    assert contrast(blend(theme, 0), blend(theme, 1)) > 5
    # The low end is next to the ground of the chart, the high end far from it.
    card = channels(theme, "card")
    assert contrast(card, blend(theme, 0)) < 1.3
    assert contrast(card, blend(theme, 1)) > 5


@pytest.mark.parametrize("theme", THEMES)
def test_the_words_in_every_cell_can_be_read(theme: str) -> None:
    for i in range(1001):
        words = "on-high" if i / 1000 >= SWITCH else "on-low"
        assert contrast(channels(theme, words), blend(theme, i / 1000)) >= 4.5, i


def test_the_words_change_at_the_switch() -> None:
    cells = Cells(Drawn(heat_map([[0.58, 0.6]], ["a"], ["c", "d"], at_least=(0, 1))))
    assert cells.words["a, c"].attrib["class"] == "inside on-low"
    assert cells.words["a, d"].attrib["class"] == "inside on-high"
