"""What a scene consists of, as values: poses, the camera, the parts and the picture."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError

CLASSES: tuple[str, ...] = ("nut", "bolt", "washer")
DEFECTS: tuple[Literal["chipped", "cracked", "deformed"], ...] = ("chipped", "cracked", "deformed")
MIN_VISIBLE = 0.4

Size = tuple[int, int]
Box = tuple[float, float, float, float]
FloatArray = NDArray[np.float64]
Face = Literal["up", "down"]
Defect = Literal["chipped", "cracked", "deformed"]


@dataclass(frozen=True, eq=False)
class Pose:
    """Part to world: world = rotation @ part + translation_mm.

    rotation: float64 (3, 3). translation_mm: float64 (3,). A nut's and a washer's frame sits at its
    center with z along the bore, towards the chamfered face of a nut; a bolt's sits at the middle of its
    length with z from the head to the tip. World z is up, and 0 on the tray or belt.
    """

    rotation: FloatArray
    translation_mm: FloatArray


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole: pixel ~ matrix @ (rotation @ world + translation_mm).

    matrix, rotation: float64 (3, 3). translation_mm: float64 (3,). Pixels are in edge coordinates: the
    center of the first one is at (0.5, 0.5).
    """

    matrix: FloatArray
    rotation: FloatArray
    translation_mm: FloatArray

    @cached_property
    def rays(self) -> FloatArray:
        """The inverse of `matrix`: (x, y, 1) of a pixel to a direction in the camera's frame."""
        return _inverse(self.matrix)

    @property
    def position_mm(self) -> FloatArray:
        """The center of projection in the world, float64 (3,)."""
        position: FloatArray = -self.rotation.T @ self.translation_mm
        return position

    def project(self, points_mm: FloatArray) -> FloatArray:
        """points_mm: (n, 3), world. Returns float64 (n, 2), pixels; nan behind the camera."""
        points = np.asarray(points_mm, np.float64)
        if points.ndim != 2 or points.shape[1] != 3:
            raise InputError(f"points_mm: expected shape (n, 3), got {points.shape}")
        seen = (points @ self.rotation.T + self.translation_mm) @ self.matrix.T
        depth = np.where(seen[:, 2:] > 0, seen[:, 2:], np.nan)
        pixels: FloatArray = seen[:, :2] / depth
        return pixels

    def plane_to_pixels(self, height_mm: float = 0.0) -> FloatArray:
        """The homography (3, 3) from world (x, y, 1) on the plane z = height_mm to pixels."""
        shift = self.rotation[:, 2] * height_mm + self.translation_mm
        result: FloatArray = self.matrix @ np.column_stack([self.rotation[:, :2], shift])
        return result

    def pixels_to_plane(self, height_mm: float = 0.0) -> FloatArray:
        """The homography (3, 3) from pixels (x, y, 1) to world (x, y, 1) on the plane z = height_mm."""
        if height_mm:
            return _inverse(self.plane_to_pixels(height_mm))
        return self._pixels_to_ground

    @cached_property
    def _pixels_to_ground(self) -> FloatArray:
        return _inverse(self.plane_to_pixels())


@dataclass(frozen=True, eq=False)
class Part:
    """One annotated part.

    class_id: index into CLASSES. face: which side of a nut is seen; None for the others. defect: None for
    a sound part. xyxy: tight box of `mask`, pixel edges (x2 is the last column + 1). amodal_xyxy: the
    same as if nothing covered the part or cut it off, so it may leave the picture. mask: bool (H, W),
    visible pixels. visible: visible over amodal area, 0 to 1. diameter_mm: nominal thread diameter, of
    the bolt that fits for a washer.
    """

    class_id: int
    face: Face | None
    defect: Defect | None
    xyxy: Box
    amodal_xyxy: Box
    mask: NDArray[np.bool_]
    visible: float
    pose: Pose
    diameter_mm: float

    @property
    def name(self) -> str:
        """The class name."""
        return CLASSES[self.class_id]


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture, uint8 (H, W, 3) BGR, and the whole truth about it."""

    image: NDArray[np.uint8]
    parts: tuple[Part, ...]
    camera: Camera
    seed: int


@dataclass(frozen=True)
class SceneSpec:
    """What scenes to make.

    size_wh: pixels, 32 to 4096. parts: least and most parts wanted; fewer are placed where they do not
    fit. part_px: range of the longest side of a part's amodal box, pixels. max_tilt_deg: of the camera
    from straight down, 0 to 45. defect_rate: share of defective ones among the nuts, 0 to 1. clutter:
    mean amount of foreign objects, 0 for none, 1 for the usual. sensor: False leaves out blur, noise,
    vignetting and compression.

    Raises InputError for values outside these ranges.
    """

    size_wh: Size = (320, 320)
    parts: tuple[int, int] = (0, 12)
    part_px: tuple[float, float] = (16.0, 160.0)
    max_tilt_deg: float = 35.0
    defect_rate: float = 0.0
    clutter: float = 1.0
    sensor: bool = True

    def __post_init__(self) -> None:
        check_size(self.size_wh)
        low, high = _pair("parts", self.parts)
        if not (is_whole(low) and is_whole(high) and 0 <= low <= high <= 100):
            raise InputError(f"parts: expected whole numbers 0 <= least <= most <= 100, got {self.parts}")
        small, large = _pair("part_px", self.part_px)
        limit = min(self.size_wh)
        if small < 8 or large < small * 1.1 or large > limit:
            raise InputError(
                f"part_px: expected 8 <= smallest, 1.1 smallest <= largest <= {limit} (the picture's "
                f"shorter side), got {self.part_px}"
            )
        check_range("max_tilt_deg", self.max_tilt_deg, 0, 45)
        check_range("defect_rate", self.defect_rate, 0, 1)
        check_range("clutter", self.clutter, 0, 10)


@dataclass(frozen=True)
class BeltSpec:
    """What belt to make.

    size_wh: pixels, 32 to 4096. step_mm: travel between frames, 0 to 1000. defect_rate: share of defective
    ones among the nuts, 0 to 1.

    Raises InputError for values outside these ranges.
    """

    size_wh: Size = (640, 480)
    step_mm: float = 4.0
    defect_rate: float = 0.0

    def __post_init__(self) -> None:
        check_size(self.size_wh)
        check_range("step_mm", self.step_mm, 0, 1000)
        check_range("defect_rate", self.defect_rate, 0, 1)


def _inverse(matrix: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.inv(matrix), np.float64)


def check_size(size_wh: Size) -> None:
    """Raises InputError unless it is a size that a picture may have."""
    width, height = _pair("size_wh", size_wh)
    if not all(is_whole(n) and 32 <= n <= 4096 for n in (width, height)):
        raise InputError(f"size_wh: expected two whole numbers from 32 to 4096, got {size_wh}")


def check_range(name: str, value: float, low: float, high: float) -> None:
    """Raises InputError unless low <= value <= high."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)) or not low <= value <= high:
        raise InputError(f"{name}: expected a number from {low:g} to {high:g}, got {value!r}")


def check_seed(seed: int) -> None:
    """Raises InputError unless it is a whole number from 0 to 2^63 - 1."""
    if not is_whole(seed) or not 0 <= seed < 1 << 63:
        raise InputError(f"seed: expected a whole number from 0 to 2^63 - 1, got {seed!r}")


def is_whole(value: object) -> bool:
    """Whether it is an int of Python or NumPy."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _pair(name: str, value: tuple[float, float]) -> tuple[float, float]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise InputError(f"{name}: expected two numbers, got {value!r}")
    for number in value:
        if isinstance(number, bool) or not isinstance(number, (int, float, np.number)) or number != number:
            raise InputError(f"{name}: expected two numbers, got {value!r}")
    return value[0], value[1]


def stream(seed: int, *tags: int) -> np.random.Generator:
    """An independent random stream of a seed: what one draws does not move what another draws."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *tags])))
