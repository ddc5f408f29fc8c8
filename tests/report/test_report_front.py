"""The Pareto front: right on cases made by hand, and by definition on any points."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError
from edgecv.report.charts import pareto_front
from edgecv.report.charts.front import staircase

# Latency in ms and accuracy; c is slower and worse than b, e is as good as d and slower.
MODELS = [(10.0, 0.2), (20.0, 0.4), (30.0, 0.3), (40.0, 0.5), (50.0, 0.5)]


@pytest.mark.parametrize(
    ("points", "x", "y", "expected"),
    [
        pytest.param(MODELS, "min", "max", [0, 1, 3], id="accuracy over latency"),
        pytest.param(MODELS, "min", "min", [0], id="one beats all"),
        pytest.param(MODELS, "max", "max", [4], id="the last beats all"),
        pytest.param(MODELS, "max", "min", [0, 2, 4], id="the worst side"),
        pytest.param([(3, 1), (1, 3), (2, 2)], "min", "min", [1, 2, 0], id="all, by rising x"),
        pytest.param([(3, 3), (1, 1), (2, 2)], "max", "min", [1, 2, 0], id="all, by rising x, most is best"),
        pytest.param([(1, 2), (1, 1), (2, 1)], "min", "min", [1], id="ties on one axis"),
        pytest.param([(1, 1), (2, 2), (1, 1)], "min", "min", [0, 2], id="equal points"),
        pytest.param([(1, 1), (1, 1)], "max", "max", [0, 1], id="nothing but equal points"),
        pytest.param([(5, 7)], "min", "max", [0], id="alone"),
        pytest.param([(1, math.inf), (math.inf, 1)], "min", "min", [0, 1], id="infinite"),
        pytest.param([(1, math.inf)], "min", "min", [0], id="infinite and alone"),
        pytest.param([], "min", "max", [], id="none"),
    ],
)
def test_fronts(points: Any, x: Any, y: Any, expected: list[int]) -> None:
    assert pareto_front(points, x=x, y=y) == expected


BEST = st.sampled_from(["min", "max"])
SMALL = st.integers(-4, 4).map(float)


@given(st.lists(st.tuples(SMALL, SMALL), max_size=30), BEST, BEST)
def test_a_front_is_what_its_definition_says(points: list[tuple[float, float]], x: Any, y: Any) -> None:
    def costs(i: int) -> tuple[float, float]:
        return points[i][0] * (1 if x == "min" else -1), points[i][1] * (1 if y == "min" else -1)

    def beats(a: int, b: int) -> bool:
        return costs(a) != costs(b) and costs(a)[0] <= costs(b)[0] and costs(a)[1] <= costs(b)[1]

    expected = [b for b in range(len(points)) if not any(beats(a, b) for a in range(len(points)))]
    found = pareto_front(points, x=x, y=y)
    assert sorted(found) == expected
    assert [points[i][0] for i in found] == sorted(points[i][0] for i in found)


@pytest.mark.parametrize(
    ("front", "x", "expected"),
    [
        pytest.param([(1, 1), (2, 3)], "min", [(1, 1), (2, 1), (2, 3)], id="held until the next"),
        pytest.param([(1, 3), (2, 1)], "max", [(1, 3), (1, 1), (2, 1)], id="lost behind the last"),
        pytest.param(
            [(1, 9), (2, 5), (4, 3)], "min", [(1, 9), (2, 9), (2, 5), (4, 5), (4, 3)], id="down the stairs"
        ),
        pytest.param([(1, 1)], "min", [(1, 1)], id="alone"),
        pytest.param([], "max", [], id="none"),
    ],
)
def test_staircases(front: Any, x: Any, expected: list[tuple[float, float]]) -> None:
    assert staircase(front, x=x) == expected


@pytest.mark.parametrize(
    ("points", "x", "text"),
    [
        pytest.param([(1.0, 2.0), (1.0, math.nan)], "min", "NaN in point 1", id="NaN"),
        pytest.param([], "least", "expected x min or max, got 'least'", id="direction"),
    ],
)
def test_what_has_no_front(points: Any, x: Any, text: str) -> None:
    with pytest.raises(InputError, match=text):
        pareto_front(points, x=x, y="max")
