"""Steps `sample` and `roi_pool` on every ISA: plain loops, the same bits, data and fields of harm."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edgecv import _isa
from edgecv.errors import InputError, ModelFileError
from tests.kernels.simd_blocked import F32, refs
from tests.kernels.simd_program import Array, Program, each_isa, from_blocked, ref, to_blocked

SIDES = (2, 4, 5)
OUT = (3, 5)
HARM = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 2**31, -(2**31), 1e10, -0.0, 1e-40, -1, 1, 100], F32)


# ---- sample


class Sampled:
    """A program of one step `sample` of (channels, d, h, w)."""

    def __init__(
        self, isa: str, x: Array, points: Array, mask: Array | None = None, /, **changes: Any
    ) -> None:
        self.program = Program(isa)
        lanes = self.program.lanes
        self.channels = x.shape[0]
        blocked = to_blocked(x.reshape(x.shape[0], -1, x.shape[-1]), lanes)
        n, pixels, made = len(blocked), int(np.prod(x.shape[1:])), int(np.prod(OUT))
        source, place = self.program.input(blocked), self.program.input(points)
        masks = self.program.input(mask) if mask is not None else 0
        target = self.program.output((n, *OUT, lanes))
        table = np.stack(
            [refs(self.program, source, n, pixels * lanes), refs(self.program, target, n, made * lanes)], 1
        )
        axes = points.shape[-1]
        fields = {
            "blocks": table.astype(np.int64),
            "n_blocks": n,
            "in_d": x.shape[1],
            "in_h": x.shape[2],
            "in_w": x.shape[3],
            "out_h": OUT[0],
            "out_w": OUT[1],
            "points": place,
            "point": axes,
            "axis": 1,
            "axes": axes,
            "mask": masks,
            "frame": "edges",
            "mode": "linear",
            "padding": "zeros",
            "chunk_points": 4,
        }
        self.program.step("sample", **(fields | changes))

    def run(self, threads: int = 1) -> Array:
        (y,) = self.program.run(threads)
        return from_blocked(y, self.channels)


def weights_of(coordinate: float, n: int, mode: str, padding: str, frame: str) -> Array:
    """Of n pixels along an axis, the weight of each, in float64. Keys 1981 with -3/4 for cubic."""
    size = n if frame == "edges" else n - 1
    place = ((coordinate + 1) * size - (frame == "edges")) / 2
    low, high = (-0.5, n - 0.5) if frame == "edges" else (0.0, n - 1.0)

    def turned(at: float) -> float:
        if padding == "border":
            return min(max(at, 0), n - 1)
        while padding == "reflection" and high > low and not low <= at <= high:
            at = 2 * low - at if at < low else 2 * high - at
        return at

    if mode == "nearest":
        taps = {round(place): 1.0}
    else:
        place = place if low <= place <= high else turned(place)
        first = int(np.floor(place))
        a, weights = -0.75, {}
        for i in range(first - 1, first + 3):
            x = abs(place - i)
            near = (a + 2) * x**3 - (a + 3) * x**2 + 1
            far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
            weights[i] = max(1 - x, 0.0) if mode == "linear" else near if x <= 1 else far
        taps = weights
    line = np.zeros(n)
    for i, weight in taps.items():
        at = int(turned(i))
        if 0 <= at < n:
            line[at] += weight
    return line


def sampled(x: Array, points: Array, **kinds: str) -> Array:
    """What the step makes of finite points, tap by tap."""
    made = np.zeros((x.shape[0], *OUT))
    sides = x.shape[1:][::-1]
    for i, j in np.ndindex(*OUT):
        axes = [weights_of(float(at), n, **kinds) for at, n in zip(points[i, j], sides, strict=False)]
        wide = axes + [np.ones(1)] * (3 - len(axes))
        made[:, i, j] = np.einsum("cdhw,w,h,d->c", x.astype(np.float64), *wide)
    return made


@each_isa
@pytest.mark.parametrize("frame", ["centers", "edges"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_sample(isa: str, mode: str, padding: str, frame: str) -> None:
    rng = np.random.default_rng(0)
    kinds = {"mode": mode, "padding": padding, "frame": frame}
    for axes in (1, 2, 3):
        sides = (1,) * (3 - axes) + SIDES[3 - axes :]
        points = rng.uniform(-1.7, 1.7, (*OUT, axes)).astype(F32)
        for channels in (1, Program(isa).lanes, 2 * Program(isa).lanes + 1):
            x = rng.standard_normal((channels, *sides)).astype(F32)
            want = sampled(x, points, **kinds)
            got = Sampled(isa, x, points, **kinds).run()
            np.testing.assert_allclose(got, want, rtol=0, atol=4e-6 * np.abs(want).max())


@each_isa
def test_points_count_from_their_own_places(isa: str) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((3, 1, 6, 7)).astype(F32)
    planes = rng.uniform(-3, 3, (2, *OUT)).astype(F32)
    planes[:, 1, 1:4] = np.nan, np.inf, 1e20
    mask = rng.uniform(0, 1, OUT).astype(F32)
    n = OUT[0] * OUT[1]
    changes = {"frame": "pixels", "top": -2, "left": -1, "stride_y": 2, "stride_x": 1}
    # A plane of distances along y, and one along x.
    got = Sampled(
        isa, x, planes.reshape(*OUT, 2), mask, points=ref(6, 4 * n), point=1, axis=-n, **changes
    ).run()
    want = np.zeros((3, *OUT))
    for i, j in np.ndindex(*OUT):
        down, right = float(planes[0, i, j]) + 2 * i - 2, float(planes[1, i, j]) + j - 1
        for row, column in itertools.product(range(6), range(7)):
            weight = max(1 - abs(down - row), 0) * max(1 - abs(right - column), 0)
            if weight > 0:
                want[:, i, j] += weight * mask[i, j] * x[:, 0, row, column]
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)


def every_bit(make: Any) -> None:
    """The same bits on all ISAs, from one thread and from three."""
    results = [make(isa).run(threads).tobytes() for isa in _isa.usable() for threads in (1, 3)]
    assert len(set(results)) == 1


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_points_of_harm(mode: str) -> None:
    """Every pair of odd coordinates, in all frames and paddings: within memory, and the same everywhere."""
    rng = np.random.default_rng(2)
    x = rng.standard_normal((5, 1, 3, 4)).astype(F32)
    for points in rng.choice(HARM, (6, *OUT, 2)):
        mask = rng.choice(HARM[:5], OUT).astype(F32)
        for frame, padding in itertools.product(
            ("pixels", "centers", "edges"), ("zeros", "border", "reflection")
        ):
            kinds = {"mode": mode, "frame": frame, "padding": padding, "stride_y": 2, "top": -3}
            every_bit(lambda isa, p=points, k=kinds: Sampled(isa, x, p, **k))
            every_bit(lambda isa, p=points, m=mask, k=kinds: Sampled(isa, x, p, m, **k))
            assert np.isfinite(Sampled(_isa.usable()[0], x, points, **kinds).run()).all()


@each_isa
def test_chunks_change_no_bit(isa: str) -> None:
    rng = np.random.default_rng(3)
    x, points = rng.standard_normal((4, 2, 3, 4)).astype(F32), rng.uniform(-1, 1, (*OUT, 3)).astype(F32)
    whole = Sampled(isa, x, points, chunk_points=1 << 40, mode="cubic").run()
    for chunk in (1, 2, 7):
        assert Sampled(isa, x, points, chunk_points=chunk, mode="cubic").run().tobytes() == whole.tobytes()


@each_isa
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"in_w": 6}, "outside its memory"),
        ({"in_d": 2}, "outside its memory"),
        ({"in_h": 0}, "pixels"),
        ({"in_h": 1 << 20, "in_w": 1 << 20}, "pixels"),
        ({"in_h": -4, "in_w": -5}, "pixels"),
        ({"out_h": 4}, "outside its memory"),
        ({"out_w": 1 << 40}, "pixels"),
        ({"n_blocks": 2}, "outside"),
        ({"n_blocks": -1}, "outside"),
        ({"blocks": ref(6)}, "constants"),
        ({"points": 4}, "points"),
        ({"point": 3}, "points"),
        ({"point": -2}, "points"),
        ({"axis": 2}, "points"),
        ({"axis": -(2**63)}, "points"),
        ({"axes": 3}, "points"),
        ({"axes": 0}, "axes"),
        ({"axes": 4}, "axes"),
        ({"mask": ref(6, 64)}, "points"),
        ({"frame": 3}, "unknown"),
        ({"mode": -1}, "unknown"),
        ({"padding": 3}, "unknown"),
        ({"top": 1 << 40}, "apart"),
        ({"left": -(2**63)}, "apart"),
        ({"stride_y": 1 << 40}, "apart"),
        ({"stride_x": -(1 << 40)}, "apart"),
        ({"chunk_points": 0}, "chunks"),
    ],
    ids=str,
)
def test_an_unsound_sample(isa: str, change: dict[str, int], problem: str) -> None:
    x, points = np.zeros((1, 1, 4, 5), F32), np.zeros((*OUT, 2), F32)
    Sampled(isa, x, points).program.plan()
    with pytest.raises(ModelFileError, match=problem):
        Sampled(isa, x, points, **change).program.plan()


# ---- roi_pool

BINS = (2, 3)


class Pooled:
    """A program of one step `roi_pool` of images (batch, channels, h, w)."""

    def __init__(
        self, isa: str, x: Array, rois: Array, images: Array | None = None, /, **changes: Any
    ) -> None:
        self.program = Program(isa)
        lanes = self.program.lanes
        batch, channels, h, w = x.shape
        blocked = np.stack([to_blocked(one, lanes) for one in x])
        n = blocked.shape[1]
        source, place = self.program.input(blocked), self.program.input(rois)
        indices = self.program.input(images) if images is not None else 0
        fields = {
            "blocks": np.array(refs(self.program, source, batch * n, h * w * lanes), np.int64),
            "batch": batch,
            "n_blocks": n,
            "channels": channels,
            "in_h": h,
            "in_w": w,
            "rois": place,
            "indices": indices,
            "n_rois": len(rois),
            "y": self.program.output((len(rois), channels, *BINS)),
            "out_h": BINS[0],
            "out_w": BINS[1],
            "kind": "align_average" if images is not None else "window_max",
            "scale": 1.0,
            "half_pixel": 1,
            "chunk_blocks": 1,
        }
        self.program.step("roi_pool", **(fields | changes))

    def run(self, threads: int = 1) -> Array:
        (y,) = self.program.run(threads)
        return y


def aligned(x: Array, roi: Array, samples: int, largest: bool, shift: float) -> Array:
    """One region as ONNX RoiAlign has it (He et al. 2017, Mask R-CNN, section 3), sample by sample."""
    channels, h, w = x.shape
    made = np.zeros((channels, *BINS))
    left, top, right, bottom = (float(v) - shift for v in roi)
    width, height = right - left, bottom - top
    if not shift:
        width, height = max(width, 1.0), max(height, 1.0)
    bin_h, bin_w = height / BINS[0], width / BINS[1]
    rows, columns = samples or int(np.ceil(bin_h)), samples or int(np.ceil(bin_w))
    for i, j in np.ndindex(*BINS):
        values = []
        for a, b in itertools.product(range(rows), range(columns)):
            y = top + i * bin_h + (a + 0.5) * bin_h / rows
            x_at = left + j * bin_w + (b + 0.5) * bin_w / columns
            if not (-1 <= y <= h and -1 <= x_at <= w):
                values.append(np.zeros((4, channels)))
                continue
            y, x_at = min(max(y, 0), h - 1), min(max(x_at, 0), w - 1)
            y0, x0 = int(y), int(x_at)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            down, along = y - y0, x_at - x0
            corners = ((y0, x0, 1 - down, 1 - along), (y0, x1, 1 - down, along))
            corners += ((y1, x0, down, 1 - along), (y1, x1, down, along))
            values.append(np.stack([x[:, r, c].astype(np.float64) * u * v for r, c, u, v in corners]))
        if values:
            made[:, i, j] = np.max(values, (0, 1)) if largest else np.sum(values, (0, 1)) / len(values)
    return made


REGIONS = np.array(
    [[1, 1, 4, 3], [-2.5, -1, 12, 9], [3, 2, 1.5, 1], [0.2, 0.3, 0.2, 0.3], [-9, -9, -5, -5], [0, 0, 40, 30]],
    F32,
)
IMAGES = np.array([0, 1, 1, 0, 1, 0])


@each_isa
@pytest.mark.parametrize("half_pixel", [0, 1])
@pytest.mark.parametrize("samples", [0, 2, 5])
@pytest.mark.parametrize("kind", ["align_average", "align_max"])
def test_align(isa: str, kind: str, samples: int, half_pixel: int) -> None:
    rng = np.random.default_rng(4)
    for channels in (1, Program(isa).lanes, 2 * Program(isa).lanes + 1):
        x = rng.standard_normal((2, channels, 6, 7)).astype(F32)
        changes = {"kind": kind, "samples": samples, "half_pixel": half_pixel}
        got = Pooled(isa, x, REGIONS, IMAGES, **changes).run(2)
        for n, (roi, image) in enumerate(zip(REGIONS, IMAGES, strict=True)):
            want = aligned(x[image], roi, samples, kind == "align_max", half_pixel / 2)
            np.testing.assert_allclose(got[n], want, rtol=0, atol=5e-6 * max(np.abs(want).max(), 1))
        whole = Pooled(isa, x, REGIONS, IMAGES, chunk_blocks=3, **changes).run()
        assert whole.tobytes() == got.tobytes()


@each_isa
def test_bins_of_more_taps_than_a_piece_holds(isa: str) -> None:
    x = np.random.default_rng(5).standard_normal((1, 3, 40, 60)).astype(F32)
    rois, images = np.array([[0, 0, 60, 40]], F32), np.zeros(1, np.int64)
    for kind in ("align_average", "align_max"):
        got = Pooled(isa, x, rois, images, kind=kind).run()
        want = aligned(x[0], rois[0], 0, kind == "align_max", 0.5)
        np.testing.assert_allclose(got[0], want, rtol=0, atol=1e-5)
    (window,) = Pooled(isa, x, np.array([[0, 0, 0, 59, 39]], F32)).run()
    want = x[0].reshape(3, 2, 20, 3, 20).max((2, 4))
    np.testing.assert_array_equal(window, want)


@pytest.mark.parametrize("kind", ["align_average", "align_max", "window_max"])
def test_regions_of_harm(kind: str) -> None:
    """Odd coordinates of every kind: within memory, finite, and the same everywhere."""
    rng = np.random.default_rng(6)
    x = rng.standard_normal((2, 5, 3, 4)).astype(F32)
    rois, images = rng.choice(HARM, (200, 4)), rng.integers(0, 2, 200)
    if kind == "window_max":
        rois = np.concatenate([images[:, None].astype(F32), rois], 1)
    for samples, half_pixel, scale in ((0, 1, 1.0), (0, 0, 0.25), (3, 1, 3e38), (2, 0, float("nan"))):
        changes = {"kind": kind, "samples": samples, "half_pixel": half_pixel, "scale": scale}
        of_kind = None if kind == "window_max" else images
        every_bit(lambda isa, c=changes, i=of_kind: Pooled(isa, x, rois, i, **c))
        assert np.isfinite(Pooled(_isa.usable()[0], x, rois, of_kind, **changes).run()).all()


@each_isa
def test_a_window_ignores_nan(isa: str) -> None:
    x = np.zeros((1, 1, 4, 6), F32)
    x[0, 0, 0] = np.nan, -3, np.nan, 5, -np.inf, np.nan
    x[0, 0, 1:] = -np.inf
    got = Pooled(isa, x, np.array([[0, 0, 0, 5, 3]], F32)).run()
    np.testing.assert_array_equal(got[0, 0], np.array([[-3, 5, -np.inf], [-np.inf] * 3], F32))


@each_isa
@pytest.mark.parametrize("image", [-1, 2, 2**62, -(2**63)])
def test_an_image_that_is_not_there(isa: str, image: int) -> None:
    x, images = np.zeros((2, 1, 3, 3), F32), np.array([0, image])
    with pytest.raises(InputError, match="index"):
        Pooled(isa, x, np.zeros((2, 4), F32), images).run()
    for number in (float(image), np.nan, np.inf, -np.inf):
        with pytest.raises(InputError, match="index"):
            Pooled(isa, x, np.array([[number, 0, 0, 1, 1]], F32)).run()


@each_isa
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"in_w": 8}, "outside its memory"),
        ({"in_h": 0}, "pixels"),
        ({"in_h": 1 << 31}, "pixels"),
        ({"out_h": 3}, "result"),
        ({"out_w": -3, "out_h": -2}, "pixels"),
        ({"out_w": 1 << 40}, "pixels"),
        ({"batch": 3}, "outside"),
        ({"batch": -1}, "outside"),
        ({"n_blocks": 2}, "outside"),
        ({"n_blocks": 0}, "channels"),
        ({"channels": 0}, "channels"),
        ({"channels": 100}, "channels"),
        ({"blocks": ref(6)}, "constants"),
        ({"n_rois": 7}, "regions"),
        ({"n_rois": -1}, "regions"),
        ({"n_rois": 1 << 60}, "regions"),
        ({"kind": "window_max"}, "regions"),
        ({"kind": 3}, "kind"),
        ({"kind": -1}, "kind"),
        ({"indices": 0}, "regions"),
        ({"indices": ref(7, 4)}, "regions"),
        ({"rois": ref(6, 16)}, "regions"),
        ({"y": ref(5)}, "result"),
        ({"y": ref(8, 4)}, "result"),
        ({"samples": 4097}, "samples"),
        ({"samples": -1}, "samples"),
        ({"chunk_blocks": 0}, "chunks"),
    ],
    ids=str,
)
def test_an_unsound_roi_pool(isa: str, change: dict[str, Any], problem: str) -> None:
    x = np.zeros((2, 1, 6, 7), F32)
    Pooled(isa, x, REGIONS, IMAGES).program.plan()
    with pytest.raises(ModelFileError, match=problem):
        Pooled(isa, x, REGIONS, IMAGES, **change).program.plan()
