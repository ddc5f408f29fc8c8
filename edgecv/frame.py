"""Frame: a picture in YUV as cameras deliver it, its planes where they lie.

A pixel of b, g and r is made of its own luma Y and of the Cb and Cr that it shares with its neighbors: two
beside each other, and in 4:2:0 the two below as well. That is the nearest chroma, as OpenCV's cvtColor takes
it, not a blend: where a chroma sample lies among its lumas differs from camera to camera and no format tells,
a network sees a picture that was shrunk in any case, and each sample is read once.

ITU-R BT.601-7 and BT.709-6 state Y = Kr R + Kg G + Kb B, Kr + Kg + Kb = 1, with Kr 0.299 and Kb 0.114
(BT.601), or 0.2126 and 0.0722 (BT.709); Cb = (B - Y) / (2 - 2 Kb), Cr = (R - Y) / (2 - 2 Kr). Solved for the
colors:

    R = Y + (2 - 2 Kr) Cr
    B = Y + (2 - 2 Kb) Cb
    G = Y - (2 - 2 Kb) Kb / Kg Cb - (2 - 2 Kr) Kr / Kg Cr

In the range "limited", which is theirs, a byte is 16 + 219 Y and 128 + 224 C for Y from 0 to 1 and C from
-1/2 to 1/2; in "full", which is JFIF's (ITU-T T.871), 255 Y and 128 + 255 C. A channel is held to 0..255 and
rounded to a whole level, before any resize. It is worked out in integers, which `rule` states.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import msgspec
import numpy as np

from edgecv import _image
from edgecv.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Text, since numpy.typing is long to import for what annotations alone use.
Pixels: TypeAlias = "NDArray[np.uint8] | NDArray[np.uint16] | Frame"
"""What pipelines take; see `edgecv.image.Preprocessor`."""

FORMATS = ("nv12", "i420", "yuyv", "uyvy")
MATRICES = ("bt601", "bt709")
RANGES = ("limited", "full")
MAX_SIDE = 32767
# In the order of the native formats, of which those of arrays come first.
NATIVE_FORMATS = ("pixels", "gray16", *FORMATS)

_KR_KB = {"bt601": ("0.299", "0.114"), "bt709": ("0.2126", "0.0722")}


class Rule(NamedTuple):
    """The integers of a conversion: the native `YuvRule`.

    A channel is (sum + bias) >> 6, held to 0..255. The sum has a term for each sample that it depends on:
    ((sample - 128) * weight + 64) >> 7, where a weight has 13 fractional bits and a term 6.
    """

    y: int
    bias: int
    b_of_u: int
    g_of_u: int
    g_of_v: int
    r_of_v: int


@functools.cache
def rule(matrix: str, range: str) -> Rule:
    """How samples of this matrix and range become channels: within 0.55 of a level of the exact value."""
    # Not imported where no frame is in YUV.
    from fractions import Fraction

    kr, kb = map(Fraction, _KR_KB[matrix])
    kg = 1 - kr - kb
    is_limited = range == "limited"
    luma = Fraction(255, 219) if is_limited else Fraction(1)
    chroma = Fraction(255, 224) if is_limited else Fraction(1)
    b_of_u, r_of_v = chroma * (2 - 2 * kb), chroma * (2 - 2 * kr)
    weights = (luma, b_of_u, -b_of_u * kb / kg, -r_of_v * kr / kg, r_of_v)
    # floor(n + 1/2)
    y, *rest = ((weight * 2**14 + 1) // 2 for weight in weights)
    # The luma of 128, and the half that rounds.
    bias = ((128 - (16 if is_limited else 0)) * luma * 2**7 + 1) // 2 + 2**5
    return Rule(y, bias, *rest)


class Frame(msgspec.Struct, frozen=True, eq=False):
    """A picture in YUV, which pipelines take in place of an array; nothing is copied.

    planes: one packed array, or a tuple with an array for each plane. All are uint8, the bytes of a row side
    by side, rows any number of bytes apart, so that they may be views into a camera's buffer.

    - "nv12": (H * 3 / 2, W), rows of Y and below them rows of Cb and Cr in turns; or a tuple of Y, (H, W),
      and CbCr, (H / 2, W) or (H / 2, W / 2, 2).
    - "i420": (H * 3 / 2, W), C-contiguous: all Y, then all Cb, then all Cr; or a tuple of Y, (H, W), Cb and
      Cr, (H / 2, W / 2) each.
    - "yuyv", "uyvy": (H, W, 2) or (H, 2 W): Y Cb Y Cr, or Cb Y Cr Y, for each two pixels.

    W is even, and so is H of "nv12" and "i420"; both are at most 32767. format: one of these, lower case.
    matrix: "bt601" or "bt709", range: "limited" or "full"; None: as the model's card states it, else BT.601,
    limited. They are kept as planes of two axes, in a tuple. Raises InputError for anything else.
    """

    planes: NDArray[np.uint8] | tuple[NDArray[np.uint8], ...]
    format: str
    matrix: str | None = None
    range: str | None = None

    def __post_init__(self) -> None:
        _one_of(self.format, FORMATS, "format")
        for value, choices, field in ((self.matrix, MATRICES, "matrix"), (self.range, RANGES, "range")):
            if value is not None:
                _one_of(value, choices, field)
        given = self.planes if isinstance(self.planes, tuple) else (self.planes,)
        for plane in given:
            if not isinstance(plane, np.ndarray) or plane.dtype != np.uint8:
                raise InputError(
                    f"Frame.planes: expected uint8 arrays for {self.format}, got {_listed(given)}"
                )
        msgspec.structs.force_setattr(self, "planes", _SPLITS[self.format](self.format, given))
        self._check()

    @property
    def size_wh(self) -> tuple[int, int]:
        """Width and height, pixels."""
        rows, columns = self.planes[0].shape
        return (columns if len(self.planes) > 1 else columns // 2), rows

    @property
    def layout(self) -> tuple[object, ...]:
        """All that a plan depends on: two frames of one layout differ in their bytes alone."""
        strides = tuple(plane.strides[0] for plane in self.planes)
        return self.format, self.matrix, self.range, self.planes[0].shape, strides

    @property
    def width(self) -> int:
        """Pixels."""
        return self.size_wh[0]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.size_wh[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all planes."""
        return sum(plane.nbytes for plane in self.planes)

    def bgr(self) -> NDArray[np.uint8]:
        """The picture as uint8 (H, W, 3) BGR, a new array; a matrix or range that is None is the default."""
        width, height = self.size_wh
        planes: Any = self.planes
        out = np.empty((height, width, 3), np.uint8)
        _image.to_bgr(
            planes,
            out,
            format=NATIVE_FORMATS.index(self.format),
            rule=rule(self.matrix or MATRICES[0], self.range or RANGES[0]),
        )
        return out

    def _check(self) -> None:
        width, height = self.size_wh
        if not (2 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
            raise InputError(f"Frame: expected 2 to {MAX_SIDE} pixels a side, got {width} x {height}")
        if width % 2 or (len(self.planes) > 1 and height % 2):
            sides = "an even width and height" if len(self.planes) > 1 else "an even width"
            raise InputError(
                f"Frame: {self.format} has {sides}, got {width} x {height}; cut off the last column or row"
            )
        for number, plane in enumerate(self.planes):
            if plane.shape[1] > 1 and plane.strides[1] != 1:
                raise InputError(
                    f"Frame.planes[{number}]: expected the bytes of a row side by side, got strides "
                    f"{plane.strides}; pass a copy()"
                )


def _packed_420(format: str, given: tuple[NDArray[np.uint8], ...]) -> NDArray[np.uint8] | None:
    """The one array of Y and, below it, Cb and Cr; None for a tuple of planes. Raises InputError."""
    if len(given) != 1:
        return None
    (whole,) = given
    if whole.ndim != 2 or whole.shape[0] % 3 or not whole.size:
        raise InputError(
            f"Frame.planes: expected one array (H * 3 / 2, W) for {format}, H and W even, or a tuple of "
            f"planes; got {_listed(given)}"
        )
    if whole.shape[0] // 3 * 2 % 2 or whole.shape[1] % 2:
        raise InputError(f"Frame: {format} has an even width and height, got {_listed(given)}")
    return whole


def _split_nv12(format: str, given: tuple[NDArray[np.uint8], ...]) -> tuple[NDArray[np.uint8], ...]:
    whole = _packed_420(format, given)
    if whole is not None:
        height = whole.shape[0] // 3 * 2
        return whole[:height], whole[height:]
    if len(given) == 2 and given[0].ndim == 2:
        luma, chroma = given
        rows, columns = luma.shape[0] // 2, luma.shape[1]
        if chroma.shape == (rows, columns // 2, 2) and _is_dense(chroma):
            chroma = chroma.reshape(rows, columns // 2 * 2)
        if chroma.shape == (rows, columns // 2 * 2):
            return luma, chroma
    raise InputError(
        "Frame.planes: expected Y (H, W) and CbCr (H / 2, W) or (H / 2, W / 2, 2) for nv12, pairs side by "
        f"side; got {_listed(given)}"
    )


def _split_i420(format: str, given: tuple[NDArray[np.uint8], ...]) -> tuple[NDArray[np.uint8], ...]:
    whole = _packed_420(format, given)
    if whole is not None:
        if not whole.flags.c_contiguous:
            raise InputError(
                "Frame.planes: expected one C-contiguous array for i420, got strides "
                f"{whole.strides}; pass a tuple of the three planes"
            )
        height, width = whole.shape[0] // 3 * 2, whole.shape[1]
        chroma = whole[height:].reshape(2, height // 2, width // 2)
        return whole[:height], chroma[0], chroma[1]
    if len(given) == 3 and given[0].ndim == 2:
        expected = (given[0].shape[0] // 2, given[0].shape[1] // 2)
        if given[1].shape == given[2].shape == expected:
            return given
    raise InputError(
        f"Frame.planes: expected Y (H, W), Cb and Cr (H / 2, W / 2) for i420; got {_listed(given)}"
    )


def _split_packed(format: str, given: tuple[NDArray[np.uint8], ...]) -> tuple[NDArray[np.uint8], ...]:
    if len(given) == 1:
        (whole,) = given
        if whole.ndim == 3 and whole.shape[2] == 2 and _is_dense(whole):
            return (whole.reshape(len(whole), 2 * whole.shape[1]),)
        if whole.ndim == 2 and whole.shape[1] % 4 == 0:
            return (whole,)
        if whole.ndim == 2 and whole.shape[1] % 2 == 0:
            raise InputError(f"Frame: {format} has an even width, got {whole.shape[1] // 2} x {len(whole)}")
    raise InputError(
        "Frame.planes: expected one array (H, W, 2), the bytes of a row side by side, or (H, 2 W) for "
        f"{format}; got {_listed(given)}"
    )


_SPLITS: dict[str, Any] = {
    "nv12": _split_nv12,
    "i420": _split_i420,
    "yuyv": _split_packed,
    "uyvy": _split_packed,
}


def _is_dense(pairs: NDArray[np.uint8]) -> bool:
    """Whether the pairs of a row, (H, W, 2), lie side by side, so that they are a row of bytes as well."""
    return pairs.strides[2] == 1 and (pairs.shape[1] == 1 or pairs.strides[1] == 2)


def _listed(planes: Sequence[object]) -> str:
    return " and ".join(
        f"{plane.dtype} {plane.shape}" if isinstance(plane, np.ndarray) else type(plane).__name__
        for plane in planes
    ) or "no planes"  # fmt: skip


def _one_of(value: object, choices: tuple[str, ...], field: str) -> None:
    if value not in choices:
        raise InputError(f"Frame.{field}: expected one of {', '.join(choices)}, got {value!r}")
