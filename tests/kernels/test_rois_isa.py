"""Every kernel of ext/rois on every built ISA: as brute force, around the lane counts, the same bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from edgecv import _isa, _rois, rois
from edgecv.errors import UnavailableError
from tests import rois_reference as reference
from tests.kernels.isas import LANES, forced

F32 = np.float32
ANCHORS = rois.anchors(16, (0.5, 1.0), (2.0, 4.0))


def lengths(isa: str) -> list[int]:
    lanes = LANES[isa]
    return [1, lanes - 1, lanes, lanes + 1, 3 * lanes + 2, 4 * lanes, 5 * lanes + 3]


CASES = [(isa, n) for isa in _isa.built() for n in lengths(isa)]


@pytest.fixture
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """The kernels of one ISA, for one test."""
    yield from forced(_rois, request.param)


each_isa = pytest.mark.parametrize("isa", _isa.built(), indirect=True)
each_length = pytest.mark.parametrize(
    ("isa", "n"), CASES, ids=[f"{isa}-n{n}" for isa, n in CASES], indirect=["isa"]
)


@each_length
@pytest.mark.parametrize("hostile", [False, True], ids=["plain", "hostile"])
def test_f32_decode_anchor(isa: str, n: int, hostile: bool) -> None:
    """n cells in a row, and in a column."""
    rng = np.random.default_rng(n)
    for shape in ((4, 1, n), (4, n, 1)):
        scores, deltas = reference.trunk_outputs(rng, shape)
        if hostile:
            deltas[rng.random(deltas.shape) < 0.1] = np.nan
            scores[rng.random(scores.shape) < 0.1] = np.inf
        options: dict[str, Any] = {"image_xyxy": (0, 0, 16 * shape[2], 16 * shape[1]), "min_wh": (9, 9)}
        for inclusive in (True, False):
            xyxy, score = rois.propose(scores, deltas, ANCHORS, inclusive=inclusive, **options)
            expected = reference.propose(scores, deltas, ANCHORS, inclusive=inclusive, **options)
            np.testing.assert_array_equal(score, expected[1])
            np.testing.assert_allclose(xyxy, expected[0], rtol=1e-6, atol=1e-3)


@each_isa
def test_f32_decode_anchor_grows_by_the_exponential(isa: str) -> None:
    """To the rounding of a float32, and held where a float32 ends."""
    delta = np.concatenate([np.linspace(-80, 80, 333), [-1e30, -87, 88, 89, 1e30]]).astype(F32)
    deltas = np.zeros((4, 1, len(delta)), F32)
    deltas[2] = delta
    anchor = np.array([[-0.5, -0.5, 0.5, 0.5]], F32)
    xyxy, _ = rois.propose(
        np.linspace(1, 0.5, len(delta), dtype=F32).reshape(1, 1, -1),
        deltas,
        anchor,
        image_xyxy=(-1e38, -1e38, 1e38, 1e38),
        stride=0,
        min_wh=(0, 0),
        iou=1.0,
        inclusive=False,
        post_nms=1000,
    )
    expected = np.exp(np.clip(delta.astype(float), -87, 88))
    width = np.minimum(expected, 2e38)
    np.testing.assert_allclose(xyxy[:, 2].astype(float) - xyxy[:, 0], width, rtol=1e-6)


@each_length
def test_f32_transpose_and_f32_max_bins(isa: str, n: int) -> None:
    """n channels, n cells, n bins."""
    rng = np.random.default_rng(n)
    shapes = [((n, 5, 7), (7, 7)), ((20, 1, n), (7, 7)), ((20, n, 1), (3, 3)), ((20, 6, 5), (n, 1))]
    for shape, size_wh in [*shapes, ((n, n, 2), (n, 2))]:
        features = rng.standard_normal(shape).astype(F32)
        features[rng.random(shape) < 0.05] = np.nan
        xyxy = rng.uniform(-30, 16 * max(shape[1:]), (6, 4)).astype(F32)
        got = rois.pool(features, xyxy, size_wh=size_wh)
        np.testing.assert_array_equal(got, reference.pool(features, xyxy, size_wh, 1 / 16))


@each_isa
def test_every_element_of_a_transposed_block_has_its_place(isa: str) -> None:
    """Boxes of one cell and one bin: what is pooled is the features, channel by channel."""
    features = np.arange(70 * 67, dtype=F32).reshape(70, 1, 67)
    x = np.arange(67, dtype=F32)
    xyxy = np.stack([x, 0 * x, x, 0 * x], axis=1)
    got = rois.pool(features, xyxy, size_wh=(1, 1), scale=1.0)
    np.testing.assert_array_equal(got[:, :, 0, 0], features[:, 0].T)
    got = rois.pool(features, np.array([[0, 0, 66, 0]], F32), size_wh=(67, 1), scale=1.0)
    np.testing.assert_array_equal(got[0, :, 0], features[:, 0])


# SHA-256 of all results below, from the baseline code: the same on x86 and on ARM.
DIGEST = "7dcfe8f689bad14f372d206c22dfac84fecd8e3e9318845e79af09d110bf9fea"


@each_isa
def test_all_isas_give_the_same_bits(isa: str) -> None:
    """The exponential too, which no other library rounds alike."""
    rng = np.random.default_rng(12)
    scores = (rng.integers(0, 1000, (4, 13, 21)) / 1001).astype(F32)
    deltas = (rng.integers(-600, 600, (16, 13, 21)) / 1000).astype(F32)
    features = (rng.integers(-1000, 1000, (45, 13, 21)) / 7).astype(F32)
    results = []
    for inclusive in (True, False):
        xyxy, score = rois.propose(scores, deltas, ANCHORS, image_xyxy=(3, 5, 330, 200), inclusive=inclusive)
        results += [xyxy, score, rois.pool(features, xyxy)]
    digest = hashlib.sha256(b"".join(result.tobytes() for result in results)).hexdigest()
    assert digest == DIGEST


def test_an_isa_that_this_cpu_lacks_is_refused() -> None:
    lacking = [label for label in _isa.built() if label not in _isa.usable()]
    if not lacking:
        pytest.skip("this CPU has every ISA that is built in")
    with pytest.raises(UnavailableError, match="not supported by this CPU"):
        _rois.use_isa(lacking[0])
