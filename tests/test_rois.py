"""edgecv.rois against brute force: anchors, proposals and ROI pooling."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import rois
from tests import rois_reference as reference
from tests.allocation import allocated_bytes

F32 = np.float32
ANCHORS = rois.anchors()
TWO = np.array([[-8, -8, 23, 23], [0, -16, 15, 31]], F32)


def of_cells(width: int, height: int, stride: int = 16) -> tuple[float, float, float, float]:
    return (0, 0, width * stride, height * stride)


# ---- anchors


def test_anchors_of_the_paper() -> None:
    """The table in the source of py-faster-rcnn, whose pixels count from 1."""
    assert (rois.anchors() + 1).tolist() == [
        [-83, -39, 100, 56],
        [-175, -87, 192, 104],
        [-359, -183, 376, 200],
        [-55, -55, 72, 72],
        [-119, -119, 136, 136],
        [-247, -247, 264, 264],
        [-35, -79, 52, 96],
        [-79, -167, 96, 184],
        [-167, -343, 184, 360],
    ]


@pytest.mark.parametrize(
    ("base", "ratios", "scales"),
    [(16, (0.5, 1, 2), (8, 16, 32)), (12, (0.5, 1.5), (3,)), (8, (0.333, 1, 3), (2.5, 4)), (16, (), (1,))],
    ids=str,
)
def test_anchors_follow_the_definition(base: int, ratios: tuple[float, ...], scales: Any) -> None:
    got = rois.anchors(base, ratios, scales)
    assert got.dtype == F32
    np.testing.assert_array_equal(got, reference.anchors(base, ratios, scales).reshape(-1, 4))


def test_anchors_round_halves_as_asked() -> None:
    """17 * 0.5 is 8.5: NumPy rounds it to 8, C++ to 9."""
    heights = [
        box[3] - box[1] + 1
        for rounding in ("half-even", "half-up")
        for box in rois.anchors(12, (0.5,), (1,), rounding=rounding)  # type: ignore[arg-type]
    ]
    assert heights == [8, 9]


# ---- proposals

CASES: dict[str, dict[str, Any]] = {
    "plain": {},
    "few-kept": {"post_nms": 5},
    "few-seen": {"pre_nms": 40},
    "one": {"pre_nms": 1, "post_nms": 1},
    "loose": {"iou": 0.95, "post_nms": 2000},
    "strict": {"iou": 0.0},
    "no-limit": {"iou": 1.0, "pre_nms": 10**9, "post_nms": 10**9},
    "any-size": {"min_wh": (0, 0)},
    "uneven-size": {"min_wh": (120.5, 30)},
    "nothing-is-large-enough": {"min_wh": (1e6, 0)},
    "exclusive": {"inclusive": False},
    "exclusive-any-size": {"inclusive": False, "min_wh": (0, 0), "image_xyxy": (0, 0, 90, 70)},
    "letterbox": {"image_xyxy": (20, 33.5, 250, 170)},
    "one-pixel": {"image_xyxy": (7, 7, 8, 8), "min_wh": (1, 1)},
    "stride": {"stride": 7.5},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("shape", [(9, 7, 10), (9, 3, 5), (9, 1, 1), (9, 13, 1)], ids=str)
def test_proposals_follow_the_definition(case: dict[str, Any], shape: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(1)
    scores, deltas = reference.trunk_outputs(rng, shape)
    options = {"image_xyxy": of_cells(*shape[:0:-1]), **case}
    xyxy, score = rois.propose(scores, deltas, ANCHORS, **options)
    expected_xyxy, expected_score = reference.propose(scores, deltas, ANCHORS, **options)
    assert (xyxy.dtype, score.dtype) == (F32, F32)
    np.testing.assert_array_equal(score, expected_score)
    np.testing.assert_allclose(xyxy, expected_xyxy, rtol=1e-6, atol=1e-3)


def test_the_table_has_proposals() -> None:
    """Were there none, the comparison above would say nothing; and the cases must differ."""
    scores, deltas = reference.trunk_outputs(np.random.default_rng(1), (9, 14, 20))
    found = {}
    for name, case in CASES.items():
        options = {"image_xyxy": of_cells(20, 14), **case}
        found[name] = rois.propose(scores, deltas, ANCHORS, **options)[0]
    assert len(found.pop("nothing-is-large-enough")) == 0
    assert all(len(xyxy) for xyxy in found.values())
    assert len({xyxy.tobytes() for xyxy in found.values()}) == len(found)


def test_proposals_of_equal_score_come_by_cell_then_anchor() -> None:
    """Without deltas every number is exact."""
    scores = np.random.default_rng(2).integers(0, 3, (2, 9, 11)).astype(F32)
    deltas = np.zeros((8, 9, 11), F32)
    deltas[0::4] = 0.25
    for inclusive in (True, False):
        options: dict[str, Any] = {"image_xyxy": of_cells(11, 9), "inclusive": inclusive, "iou": 0.3}
        xyxy, score = rois.propose(scores, deltas, TWO, **options)
        expected = reference.propose(scores, deltas, TWO, **options)
        np.testing.assert_array_equal(xyxy, expected[0])
        np.testing.assert_array_equal(score, expected[1])


def test_a_width_with_its_last_pixel_decides() -> None:
    """Two boxes of 10 pixels, 3 apart: 7 of 13 are shared with the last pixel, 6 of 12 without."""
    anchors = np.array([[0, 0, 9, 9], [3, 0, 12, 9]], F32)
    scores, deltas = np.array([0.9, 0.8], F32).reshape(2, 1, 1), np.zeros((8, 1, 1), F32)
    counts = [
        len(
            rois.propose(
                scores,
                deltas,
                anchors,
                image_xyxy=(0, 0, 20, 20),
                min_wh=(9, 9),
                iou=0.52,
                inclusive=inclusive,
            )[0]
        )
        for inclusive in (True, False)
    ]
    assert counts == [1, 2]


@pytest.mark.parametrize("fraction", [0.02, 0.4])
def test_hostile_numbers_are_no_proposals(fraction: float) -> None:
    rng = np.random.default_rng(3)
    odd = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, 200.0], F32)
    scores, deltas = reference.trunk_outputs(rng, (9, 10, 12))
    for array in (scores, deltas):
        hit = rng.random(array.shape) < fraction
        array[hit] = rng.choice(odd, int(hit.sum()))
    options = {"image_xyxy": of_cells(12, 10)}
    xyxy, score = rois.propose(scores, deltas, ANCHORS, **options)
    expected_xyxy, expected_score = reference.propose(scores, deltas, ANCHORS, **options)
    np.testing.assert_array_equal(score, expected_score)
    np.testing.assert_allclose(xyxy, expected_xyxy, rtol=1e-6, atol=1e-3)
    assert len(score) > 3
    assert np.isfinite(xyxy).all()
    everything = np.full_like(scores, np.nan)
    assert len(rois.propose(everything, deltas, ANCHORS, image_xyxy=of_cells(12, 10))[0]) == 0


def test_no_cells_have_no_proposals() -> None:
    for shape in ((9, 0, 4), (9, 4, 0), (0, 4, 4)):
        empty = np.zeros((4 * shape[0], *shape[1:]), F32)
        xyxy, score = rois.propose(np.zeros(shape, F32), empty, ANCHORS[: shape[0]], image_xyxy=(0, 0, 9, 9))
        assert (xyxy.shape, score.shape) == ((0, 4), (0,))


# ---- pooling

BOXES = {
    "inside": [20, 30, 150, 100],
    "all": [0, 0, 319, 223],
    "one-cell": [33, 33, 40, 40],
    "less-than-a-cell": [7.9, 8.0, 8.1, 8.1],
    "reversed": [150, 100, 20, 30],
    "left-and-above": [-200, -100, 50, 60],
    "right-and-below": [250, 150, 600, 500],
    "outside": [1000, 1000, 1100, 1100],
    "far-outside": [-900, -900, -700, -700],
    "halves": [8, 24, 40, 56],
    "negative-halves": [-8, -24, 40, 56],
    "huge": [-3e38, -1e30, 3e38, 1e30],
    "line": [0, 100, 319, 100],
}


@pytest.mark.parametrize("size_wh", [(7, 7), (6, 6), (14, 14), (1, 1), (3, 2), (20, 1)], ids=str)
@pytest.mark.parametrize("channels", [1, 3, 16, 37, 130])
def test_pooling_follows_the_definition(size_wh: tuple[int, int], channels: int) -> None:
    features = np.random.default_rng(channels).standard_normal((channels, 14, 20)).astype(F32)
    xyxy = np.array([box for name, box in BOXES.items() if name != "huge"], F32)
    got = rois.pool(features, xyxy, size_wh=size_wh)
    np.testing.assert_array_equal(got, reference.pool(features, xyxy, size_wh, 1 / 16))
    assert got.shape == (len(xyxy), channels, size_wh[1], size_wh[0])


@pytest.mark.parametrize("name", BOXES)
def test_pooling_stays_inside(name: str) -> None:
    """Every box is answered; one that lies outside is answered by zeros."""
    features = np.full((5, 14, 20), 3, F32)
    got = rois.pool(features, np.array([BOXES[name]], F32))
    assert set(np.unique(got)) <= {0, 3}
    assert ("outside" in name) == (not got.any())


@pytest.mark.parametrize("shape", [(1, 1), (1, 30), (30, 1), (5, 3)], ids=str)
@pytest.mark.parametrize("scale", [0.0625, 0.125, 1.0, 0.3, 0.0])
def test_pooling_at_any_scale(shape: tuple[int, int], scale: float) -> None:
    rng = np.random.default_rng(7)
    features = rng.standard_normal((18, *shape)).astype(F32)
    xyxy = rng.uniform(-20, 60, (30, 4)).astype(F32)
    np.testing.assert_array_equal(
        rois.pool(features, xyxy, scale=scale), reference.pool(features, xyxy, (7, 7), scale)
    )


def test_pooling_larger_features_than_a_block_of_memory() -> None:
    """Few channels at once, and the last of them fewer."""
    features = np.random.default_rng(8).standard_normal((40, 130, 70)).astype(F32)
    xyxy = np.array([[0, 0, 1119, 2079], [500, 900, 700, 1000]], F32)
    np.testing.assert_array_equal(rois.pool(features, xyxy), reference.pool(features, xyxy, (7, 7), 1 / 16))


def test_pooling_passes_over_nan() -> None:
    features = np.random.default_rng(9).standard_normal((17, 9, 9)).astype(F32)
    features[features > 0.8] = np.nan
    features[features < -0.8] = -np.inf
    features[3] = np.nan
    xyxy = np.array([[0, 0, 143, 143], [16, 32, 60, 70]], F32)
    got = rois.pool(features, xyxy)
    np.testing.assert_array_equal(got, reference.pool(features, xyxy, (7, 7), 1 / 16))
    assert not np.isnan(got).any()
    assert (got[:, 3] == np.finfo(F32).min).all()


def test_pooling_into_an_array_and_from_any_strides() -> None:
    rng = np.random.default_rng(10)
    features = rng.standard_normal((20, 12, 12)).astype(F32)
    rows = rng.uniform(0, 190, (9, 12)).astype(F32)
    features.flags.writeable = rows.flags.writeable = False
    xyxy = rows[::2, ::3]
    guarded = np.full((7, 20, 7, 7), 5, F32)
    out = guarded[1:6]
    assert rois.pool(features, xyxy, out=out) is out
    np.testing.assert_array_equal(out, reference.pool(features, xyxy, (7, 7), 1 / 16))
    assert (guarded[[0, 6]] == 5).all()
    assert rois.pool(features, xyxy[:0]).shape == (0, 20, 7, 7)
    assert rois.pool(features[:0], xyxy).shape == (5, 0, 7, 7)


@given(
    box=st.tuples(*[st.floats(-100, 400, width=32)] * 4),
    cells=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    size_wh=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    scale=st.floats(0, 2, width=32),
)
def test_any_box_is_pooled_as_defined(
    box: tuple[float, ...], cells: tuple[int, int], size_wh: tuple[int, int], scale: float
) -> None:
    features = np.arange(2 * cells[0] * cells[1], dtype=F32).reshape(2, *cells)
    xyxy = np.array([box], F32)
    got = rois.pool(features, xyxy, size_wh=size_wh, scale=scale)
    np.testing.assert_array_equal(got, reference.pool(features, xyxy, size_wh, scale))


def test_threads_do_not_share_working_memory() -> None:
    shapes = [(9, 6, 9), (9, 20, 21), (9, 11, 5), (9, 3, 3)]
    wrong: list[int] = []

    def run(number: int) -> None:
        rng = np.random.default_rng(number)
        scores, deltas = reference.trunk_outputs(rng, shapes[number])
        features = rng.standard_normal((33, *shapes[number][1:])).astype(F32)
        first = None
        for _ in range(20):
            xyxy, _ = rois.propose(scores, deltas, ANCHORS, image_xyxy=of_cells(*shapes[number][:0:-1]))
            result = (xyxy.tobytes(), rois.pool(features, xyxy).tobytes())
            first = first or result
            if result != first:
                wrong.append(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(shapes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.alone
def test_warm_calls_allocate_only_their_results() -> None:
    rng = np.random.default_rng(11)
    scores, deltas = reference.trunk_outputs(rng, (9, 20, 30))
    features = rng.standard_normal((64, 20, 30)).astype(F32)
    out = np.empty((300, 64, 7, 7), F32)

    def frame() -> None:
        xyxy, _ = rois.propose(scores, deltas, ANCHORS, image_xyxy=of_cells(30, 20))
        rois.pool(features, xyxy, out=out[: len(xyxy)])

    frame()
    before = allocated_bytes()
    for _ in range(30):
        frame()
    assert allocated_bytes() - before < 20_000  # less than one workspace; results are freed


@pytest.mark.alone
@pytest.mark.parametrize("cells", [(20, 30), (90, 140)], ids=str)
def test_working_memory_is_what_the_documentation_says(cells: tuple[int, int]) -> None:
    allocated_bytes()  # here a skip counts, and not in a thread
    rng = np.random.default_rng(12)
    scores, deltas = reference.trunk_outputs(rng, (9, *cells))
    features = rng.standard_normal((80, *cells)).astype(F32)
    out = np.empty((300, 80, 7, 7), F32)
    grown: list[int] = []

    def run() -> None:
        before = allocated_bytes()
        xyxy, _ = rois.propose(scores, deltas, ANCHORS, image_xyxy=of_cells(*cells[::-1]))
        proposed = allocated_bytes()
        rois.pool(features, xyxy, out=out[: len(xyxy)])
        grown.extend([proposed - before, allocated_bytes() - proposed])

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    anchors, slack = 9 * cells[0] * cells[1], 20_000
    assert 20 * anchors < grown[0] < 80 * anchors + 96 * 300 + slack
    large = 256 * cells[0] * cells[1] if cells[0] * cells[1] > 4096 else 1 << 20
    assert 100_000 < grown[1] < large + 512 * 49 + 16 * 14 * 300 + slack
