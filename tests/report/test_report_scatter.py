"""Scatters: points in their places, the front through the right ones, and names that do not run together."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.report.charts import Drawing, Points, scale, scatter
from edgecv.report.charts.drawing import NARROW, WIDE
from edgecv.report.charts.elements import text_width
from edgecv.report.charts.scatter import MANY, RADIUS
from tests.report.drawn import ANY, HOSTILE, INF, LONG, NAN, XML, Drawn


def markers(drawn: Drawn, drawing: int = 0) -> dict[str, tuple[float, float]]:
    """Hint -> place, of the points that are circles: those of the first series."""
    found = {}
    for group in drawn.filled("g", drawing):
        title, circle = group.find(f"{XML}title"), group.find(f"{XML}circle")
        if title is not None and circle is not None:
            found[title.text or ""] = float(circle.attrib["cx"]), float(circle.attrib["cy"])
    return found


def front(drawn: Drawn, drawing: int = 0) -> list[tuple[float, float]]:
    """The corners of the step line; its swatch in the legend is not it."""
    for group in drawn.drawings[drawing].iter(f"{XML}g"):
        path, title = group.find(f"{XML}path"), group.find(f"{XML}title")
        if path is not None and title is not None and path.get("class") == "front" and not group.get("class"):
            pairs = (pair.split(",") for pair in path.attrib["d"][1:].split("L"))
            return [(float(x), float(y)) for x, y in pairs]
    return []


def cloud(n: int, **options: Any) -> Drawing:
    x, y = np.random.default_rng(3).normal(size=(2, n)).tolist()
    return scatter([Points("a", x, y, [f"n{i}" for i in range(n)])], **options)


CASES: dict[str, Callable[[], Drawing]] = {
    "none": lambda: scatter([]),
    "empty": lambda: scatter([Points("a", [], [])], front=("min", "max")),
    "one": lambda: scatter([Points("a", [3], [4], ["n"])], front=("min", "max"), x_label="x", y_label="y"),
    "all alike": lambda: scatter([Points("a", [3] * 9, [4] * 9, ["n"] * 9)], front=("min", "max")),
    "level": lambda: scatter([Points("a", range(5), [2.0] * 5)], front=("min", "max")),
    "not finite": lambda: scatter([Points("a", [0, 1, NAN, 3], [1, None, 2, INF])], front=("min", "max")),
    "nothing finite": lambda: scatter([Points("a", [NAN], [1.0], ["n"])], front=("min", "max")),
    "huge": lambda: scatter(
        [Points("a", [-1e200, 1e200], [1e200, -1e200], ["n", "m"])], front=("min", "min")
    ),
    "tiny": lambda: scatter([Points("a", [0, 5e-324], [0, 1e-320])], front=("max", "max")),
    "log": lambda: scatter([Points("a", [1, 10, 1000], [0.5, 3, 700])], x_log=True, y_log=True),
    "log of one": lambda: scatter([Points("a", [7], [7])], x_log=True, y_log=True),
    "log of nothing above zero": lambda: scatter([Points("a", [0, -1], [1, 2])], x_log=True),
    "log wide": lambda: scatter([Points("a", [1e-199, 1e199], [1e-300, 5])], x_log=True, y_log=True),
    "thousands": lambda: cloud(5000, front=("min", "max")),
    "many series": lambda: scatter([Points(f"s{i}", [i], [i]) for i in range(40)], front=("min", "max")),
    "long labels": lambda: scatter(
        [Points(LONG, [0, 1], [0, 1], [LONG] * 2)] * 2, x_label=LONG, y_label=LONG, front=("min", "max")
    ),
    "hostile": lambda: scatter(
        [Points(HOSTILE, [0, 1], [0, 1], [HOSTILE] * 2)] * 2, x_label=HOSTILE, y_label=HOSTILE
    ),
    "arrays": lambda: scatter([Points("a", np.arange(3), np.ones(3, np.float32))]),  # type: ignore[arg-type]
    "far beyond the colors": lambda: scatter([Points("a", [1], [1], color=1000)]),
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
    assert sum(title.count(shown) == 2 for title in drawn.titles()) == 4, "the hints of the points"


# --- points ---------------------------------------------------------------------------------------


def test_points_stand_where_they_belong() -> None:
    points = Points("a", [0, 5, 10], [0, 0.5, 1])
    drawn = Drawn(scatter([points]))
    left, right, top = text_width("0.0", 13) + 8, 760 - 8, 4
    assert markers(drawn) == {
        "a: 0, 0": pytest.approx((left, top + 320), abs=0.06),
        "a: 5, 0.5": pytest.approx(((left + right) / 2, top + 160), abs=0.06),
        "a: 10, 1": pytest.approx((right, top), abs=0.06),
    }
    assert markers(drawn, 1)["a: 0, 0"][1] - markers(drawn, 1)["a: 10, 1"][1] == pytest.approx(230, abs=0.2)


def test_a_logarithmic_axis_spreads_ratios_evenly() -> None:
    drawn = Drawn(scatter([Points("a", [1, 10, 100], [1, 2, 3])], x_log=True))
    xs = [x for x, _ in markers(drawn).values()]
    assert xs[1] - xs[0] == pytest.approx(xs[2] - xs[1], abs=0.2)
    drawn = Drawn(scatter([Points("a", [1, 2, 3], [1, 10, 100])], y_log=True))
    ys = [y for _, y in markers(drawn).values()]
    assert ys[0] - ys[1] == pytest.approx(ys[1] - ys[2], abs=0.2)
    assert ys[0] > ys[1]


def test_axes_cover_what_they_are_told() -> None:
    texts = Drawn(scatter([Points("a", [40], [0.3])], x_at_least=(0, 50), y_at_least=(0, 1))).texts()
    assert {"0", "50", "1.0"} <= set(texts)


def test_what_has_no_place_is_counted() -> None:
    points = Points("a", [1, None, 3, NAN], [1, 2, INF, 4])
    drawn = Drawn(scatter([points]))
    assert list(markers(drawn)) == ["a: 1, 1"]
    assert drawn.notes == ["Left out: 3 points, not finite."]
    drawn = Drawn(scatter([Points("a", [0, 1], [1, 1])], x_log=True))
    assert drawn.notes == ["Left out: 1 point, not finite or not above zero."]


def test_series_differ_by_color_and_shape() -> None:
    drawn = Drawn(scatter([Points("a", [1], [1]), Points("b", [2], [2]), Points("c", [3], [3], color=5)]))
    classes = [each.get("class") for each in drawn.drawings[0].iter(f"{XML}g")]
    assert {"c0 d0", "c1 d1", "c5 d5"} <= set(classes)
    assert {"a", "b", "c"} <= set(drawn.texts()), "a legend"
    assert drawn.count("circle") == 2, "a point and its swatch"
    assert "only" not in Drawn(scatter([Points("only", [1], [1])])).texts()


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.tuples(ANY, ANY), max_size=8), max_size=4),
    st.booleans(),
    st.booleans(),
    st.sampled_from([None, ("min", "max"), ("max", "min"), ("max", "max")]),
)
def test_scatters_of_anything(
    series: list[list[tuple[Any, Any]]], x_log: bool, y_log: bool, best: Any
) -> None:
    chart = scatter(
        [
            Points(str(i), [x for x, _ in each], [y for _, y in each], [f"n{j}" for j in range(len(each))])
            for i, each in enumerate(series)
        ],
        x_log=x_log,
        y_log=y_log,
        front=best,
    )
    drawn = Drawn(chart)
    good = sum(
        scale.is_plottable(x, is_log=x_log) and scale.is_plottable(y, is_log=y_log)
        for each in series
        for x, y in each
    )
    lost = sum(map(len, series)) - good
    assert [note.split()[2] for note in drawn.notes] == ([str(lost)] if lost else [])
    for drawing in (0, 1):
        marked = [each for each in drawn.filled("g", drawing) if each.find(f"{XML}title") is not None]
        assert len(marked) == good


def test_many_points_are_drawn_once_where_they_cover_each_other() -> None:
    n = 50_000
    drawn = Drawn(scatter([Points("a", [0.0] * n + [1.0], [*np.linspace(0, 1, n).tolist(), 0.5])]))
    kept = markers(drawn)
    assert len(kept) <= 320 / 2 + 3
    assert "a: 1, 0.5" in kept, "the point apart"
    few = Drawn(scatter([Points("a", [0.0] * MANY, [i / MANY for i in range(MANY)])]))
    assert len(markers(few)) == MANY


def test_points_of_the_front_outlast_those_that_cover_them() -> None:
    n = 2 * MANY
    xs, ys = [*[1.0] * n, 1.0, 2.0], [*[0.5] * n, 0.5001, 1.0]
    kept = markers(Drawn(scatter([Points("a", xs, ys)], front=("min", "max"))))
    assert set(kept) == {"a: 1, 0.5001", "a: 2, 1"}


# --- the front ------------------------------------------------------------------------------------


@pytest.mark.parametrize("drawing", [0, 1])
@pytest.mark.parametrize(
    ("best", "corners"),
    [
        pytest.param(("min", "max"), [(10, 0.2), (20, 0.2), (20, 0.4), (40, 0.4), (40, 0.5)], id="min max"),
        pytest.param(("max", "max"), [(40, 0.5), (40, 0.1), (45, 0.1)], id="max max"),
    ],
)
def test_the_front_steps_through_its_points(
    best: Any, corners: list[tuple[float, float]], drawing: int
) -> None:
    points = Points("a", [10, 20, 30, 40, 45], [0.2, 0.4, 0.3, 0.5, 0.1])
    drawn = Drawn(scatter([points], front=best))
    place = markers(drawn, drawing)
    xs = {float(hint.split()[1][:-1]): x for hint, (x, _) in place.items()}
    ys = {float(hint.split()[2]): y for hint, (_, y) in place.items()}
    assert front(drawn, drawing) == [pytest.approx((xs[x], ys[y]), abs=0.2) for x, y in corners]
    assert "Pareto front" in drawn.texts(drawing)


def test_the_front_is_of_all_series() -> None:
    chart = scatter(
        [Points("a", [1, 2], [1, 2], ["p", "q"]), Points("b", [2, 3], [3, 1], ["r", "s"])],
        front=("min", "max"),
    )
    assert chart.description == "a: 2 points; b: 2 points; Pareto front: p, r"
    assert len(front(Drawn(chart))) == 3


def test_no_front_unless_asked_for_and_none_of_one_point() -> None:
    points = [Points("a", [1, 2], [1, 2])]
    for chart in (scatter(points), scatter(points, front=("min", "min"))):
        assert not front(Drawn(chart))
        assert "Pareto front" not in Drawn(chart).texts()


def test_what_is_left_out_is_on_no_front() -> None:
    chart = scatter([Points("a", [-5, 1, 2], [9, 1, 2], ["m", "n", "o"])], x_log=True, front=("min", "max"))
    assert chart.description == "a: 2 points; Pareto front: n, o"


# --- names ----------------------------------------------------------------------------------------


def boxes(drawn: Drawn, drawing: int, words: set[str]) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right, bottom of the names that are shown."""
    font = (WIDE, NARROW)[drawing].font
    share = {None: 0.0, "start": 0.0, "middle": 0.5, "end": 1.0}
    found = {}
    for text in drawn.drawings[drawing].iter(f"{XML}text"):
        if text.text in words:
            width = text_width(text.text, font)
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            left = x - share[text.get("text-anchor")] * width
            found[text.text] = left, y - font * 0.8, left + width, y + font * 0.25
    return found


@pytest.mark.parametrize("drawing", [0, 1])
@pytest.mark.parametrize("n", [4, 25, 200])
def test_names_stand_free(n: int, drawing: int) -> None:
    drawn = Drawn(cloud(n))
    names = boxes(drawn, drawing, {f"n{i}" for i in range(n)})
    assert len(names) >= min(n, 4)
    places = markers(drawn, drawing)
    for name, (left, top, right, bottom) in names.items():
        for hint, (x, y) in places.items():
            apart = math.hypot(max(left - x, x - right, 0), max(top - y, y - bottom, 0))
            assert apart >= RADIUS * 0.9, (name, hint)
        for other, box in names.items():
            assert other == name or not (
                left < box[2] and box[0] < right and top < box[3] and box[1] < bottom
            ), (name, other)


def test_a_name_stands_beside_its_point() -> None:
    drawn = Drawn(scatter([Points("a", [0, 5, 10], [0, 5, 10], ["left", "middle", "right"])]))
    place = markers(drawn)
    names = boxes(drawn, 0, {"left", "middle", "right"})
    assert names["left"][0] > place["a, left: 0, 0"][0]
    assert names["middle"][0] == pytest.approx(place["a, middle: 5, 5"][0] + RADIUS + 3, abs=0.2)
    assert names["right"][2] < place["a, right: 10, 10"][0], "no room to its right"


def test_of_two_names_in_one_place_the_one_of_the_front_stays() -> None:
    n = 30
    points = Points("a", [1.0] * n + [1.0], [1.0] * n + [1.001], [f"n{i}" for i in range(n)] + ["best"])
    assert "best" in Drawn(scatter([points], front=("min", "max"), y_at_least=(0,))).texts()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(lambda: scatter([Points("a", [1, 2], [1])]), "got 2 and 1", id="x without y"),
        pytest.param(
            lambda: scatter([Points("a", [1, 2], [1, 2], ["n"])]),
            "expected 2 names of 'a' or none, got 1",
            id="names",
        ),
        pytest.param(
            lambda: scatter([Points("a", [1], [1])], front=("least", "max")),  # type: ignore[arg-type]
            "expected x min or max, got 'least'",
            id="direction",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


def test_each_place_is_a_number() -> None:
    chart = scatter([Points("a", [np.float32(1.1)], [np.float64(2.2)])])  # type: ignore[list-item]
    circle = next(iter(Drawn(chart).drawings[0].iter(f"{XML}circle")), None)
    assert isinstance(circle, ElementTree.Element)
    assert all(len(circle.attrib[name]) < 7 for name in ("cx", "cy"))
