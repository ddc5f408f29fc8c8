"""A frame into a blob, natively, and the exact geometry of the way back.

Every rounding is stated by `edgecv.image_reference`, and the result has the same bits on every ISA.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from edgecv._image import Plan
from edgecv.arguments import frame_remedy
from edgecv.errors import InputError
from edgecv.frame import MATRICES, MAX_SIDE, NATIVE_FORMATS, RANGES, Frame, Pixels, rule
from edgecv.types import FrameTransform

if TYPE_CHECKING:
    from numpy.typing import NDArray

COLORS = ("bgr", "rgb", "gray", "bgrd", "rgbd")
FRAME_COLORS = ("gray", "bgr", "rgb", "bgra", "rgba", "bgrd")
RESIZES = ("letterbox", "stretch", "crop")
ROUNDINGS = ("nearest", "floor")
ANCHORS = ("center", "top-left")
INTERPOLATIONS = ("nearest", "linear", "area")
DTYPES = ("float32", "uint8")
BLOB_LAYOUTS = ("nchw", "nhwc")
BITS = (8, 16)

_FRAME_COLOR_OF_COUNT = {1: "gray", 3: "bgr", 4: "bgra"}
# Beyond any image's mean or std, and far from where float32 ends.
_LARGEST = 1e12
# A camera or a folder shows few geometries; a plan for each of these stays ready.
_PLANS_KEPT = 8


class BlobSpec(msgspec.Struct, frozen=True):
    """What a network wants to see.

    size_wh: width and height of the blob, pixels, 1 to 32767 each.
    color: the blob's channels in their order; "bgrd" and "rgbd" have a fourth one, such as depth, which
        a frame of four channels carries.
    resize: "letterbox" keeps the aspect ratio and pads, "crop" keeps it and cuts, "stretch" does not.
    anchor: where the padding or the cut goes: "center" to both sides, "top-left" to the right and bottom.
    pad_value: a number, or one per channel of the blob, in pixel units, before mean and std.
    rounding: how the side that a letterbox or crop does not fit exactly becomes whole pixels: "nearest"
        (half up, as Ultralytics does) or "floor" (as YOLOX does).
    interpolation: "linear", "area" or "nearest", as `edgecv.image_reference` defines them.
    mean, std: one number, or one per channel of the blob: value = (pixel - mean) / std. They are kept
        with one per channel.
    dtype: "float32", or "uint8" for the pixels as they are: mean 0 and std 1.
    layout: "nchw", plane by plane, or "nhwc", the channels of a pixel side by side; the same values.
    bits: of a frame's pixels, whose units mean, std and pad_value are in: 8, from 0 to 255; or 16, from 0 to
        65535, of gray frames into a gray float32 blob.
    yuv_matrix, yuv_range: what the samples of a YUV frame mean that does not say it itself; see
        `edgecv.frame`. A gray blob takes its luma alone.

    Raises InputError for a value that is not one of these.
    """

    size_wh: tuple[int, int]
    color: str = "bgr"
    resize: str = "letterbox"
    anchor: str = "center"
    pad_value: float | tuple[float, ...] = 0.0
    rounding: str = "nearest"
    interpolation: str = "linear"
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    dtype: str = "float32"
    layout: str = "nchw"
    bits: int = 8
    yuv_matrix: str = MATRICES[0]
    yuv_range: str = RANGES[0]

    def __post_init__(self) -> None:
        width, height = _size(self.size_wh, "size_wh")
        msgspec.structs.force_setattr(self, "size_wh", (width, height))
        _one_of(self.color, COLORS, "color")
        _one_of(self.resize, RESIZES, "resize")
        _one_of(self.anchor, ANCHORS, "anchor")
        _one_of(self.rounding, ROUNDINGS, "rounding")
        _one_of(self.interpolation, INTERPOLATIONS, "interpolation")
        _one_of(self.dtype, DTYPES, "dtype")
        _one_of(self.layout, BLOB_LAYOUTS, "layout")
        _one_of(self.bits, BITS, "bits")
        _one_of(self.yuv_matrix, MATRICES, "yuv_matrix")
        _one_of(self.yuv_range, RANGES, "yuv_range")
        if self.bits == 16 and (self.color, self.dtype) != ("gray", "float32"):
            raise InputError(
                "BlobSpec.bits: 16 is for color gray and dtype float32, "
                f"got color {self.color} and dtype {self.dtype}"
            )
        msgspec.structs.force_setattr(self, "mean", self._per_channel(self.mean, "mean"))
        msgspec.structs.force_setattr(self, "std", self._per_channel(self.std, "std"))
        padding = self._per_channel(self.pad_value, "pad_value")
        if not isinstance(self.pad_value, int | float):
            msgspec.structs.force_setattr(self, "pad_value", padding)
        if any(abs(s) < 1 / _LARGEST for s in self.std):
            raise InputError(f"BlobSpec.std: expected no zero, nor almost zero, got {self.std}")
        if self.dtype == "uint8":
            if any(self.mean) or any(s != 1 for s in self.std):
                raise InputError(
                    "BlobSpec: dtype uint8 expects mean 0 and std 1, "
                    f"got mean {self.mean} and std {self.std}; use dtype float32"
                )
            if any(p != int(p) or not 0 <= p <= 255 for p in padding):
                raise InputError(
                    "BlobSpec.pad_value: expected whole numbers from 0 to 255 for dtype uint8, "
                    f"got {self.pad_value}"
                )

    @property
    def channels(self) -> int:
        """Number of channels of the blob."""
        return 1 if self.color == "gray" else len(self.color)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the blob of one frame: (C, H, W), or (H, W, C)."""
        width, height = self.size_wh
        return (self.channels, height, width) if self.layout == "nchw" else (height, width, self.channels)

    @property
    def pad_values(self) -> tuple[float, ...]:
        """The padding of each channel, in pixel units."""
        return self._per_channel(self.pad_value, "pad_value")

    def _per_channel(self, value: float | Sequence[float], field: str) -> tuple[float, ...]:
        try:
            numbers = tuple(float(v) for v in ((value,) if isinstance(value, int | float) else value))
        except (TypeError, ValueError):
            numbers = ()
        numbers = numbers * self.channels if len(numbers) == 1 else numbers
        if len(numbers) != self.channels or not all(abs(n) <= _LARGEST for n in numbers):
            raise InputError(
                f"BlobSpec.{field}: expected 1 or {self.channels} finite numbers of at most {_LARGEST:g} "
                f"for color {self.color!r}, got {value!r}"
            )
        return numbers


def plan_transform(frame_wh: tuple[int, int], spec: BlobSpec) -> FrameTransform:
    """Where a frame of this size comes to lie in the blob.

    frame_wh: width and height of the frame, pixels, 1 to 32767 each. All arithmetic is in integers:
    a side that is not fitted exactly is rounded as the spec says, and is at least 1 pixel.
    """
    frame_wh = _size(frame_wh, "frame_wh")
    blob_wh = spec.size_wh
    if spec.resize == "stretch":
        return FrameTransform(frame_wh, blob_wh, blob_wh, (0, 0))
    # The axis whose ratio blob / frame is the smaller one: a letterbox fits it, a crop the other.
    tight = 0 if blob_wh[0] * frame_wh[1] <= blob_wh[1] * frame_wh[0] else 1
    fitted = tight if spec.resize == "letterbox" else 1 - tight
    other = 1 - fitted
    resized = [0, 0]
    resized[fitted] = blob_wh[fitted]
    # floor(n + 1/2) of a fraction p / q is floor((2 p + q) / 2 q).
    half = frame_wh[fitted] if spec.rounding == "nearest" else 0
    resized[other] = max(1, (2 * frame_wh[other] * blob_wh[fitted] + half) // (2 * frame_wh[fitted]))
    gap = [blob - size for blob, size in zip(blob_wh, resized, strict=True)]
    if spec.anchor == "top-left":
        offset = (0, 0)
    elif spec.resize == "letterbox":
        offset = (gap[0] // 2, gap[1] // 2)
    else:
        offset = (-(-gap[0] // 2), -(-gap[1] // 2))
    return FrameTransform(frame_wh, blob_wh, (resized[0], resized[1]), offset)


class Preprocessor:
    """Turns frames into blobs of one spec; keeps the plans of a few frame geometries.

    frame_color: channels of the frames: "gray", "bgr", "rgb", "bgra", "rgba" or "bgrd"; None goes by
    their number: 1 gray, 3 bgr, 4 bgra. A gray frame is replicated for a colored blob, alpha is
    dropped, and the fourth channel of a "bgrd" or "rgbd" blob is the frame's, whatever its name.

    A preprocessor belongs to one thread at a time. Once it has seen a geometry it allocates nothing
    natively for it.
    """

    def __init__(self, spec: BlobSpec, *, frame_color: str | None = None) -> None:
        if frame_color is not None and frame_color not in FRAME_COLORS:
            raise InputError(f"frame_color: expected one of {', '.join(FRAME_COLORS)}, got {frame_color!r}")
        self.spec = spec
        self.frame_color = frame_color
        self._plans: dict[Any, tuple[Plan, FrameTransform]] = {}

    def __call__(self, frame: Pixels, out: NDArray[Any]) -> FrameTransform:
        """Writes the blob of a frame.

        frame: uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), 1 to 32767 pixels a side, any strides,
        read-only or not; uint16 (H, W) or (H, W, 1) for a spec of 16 bits; or a `Frame` in YUV. out:
        C-contiguous, of the spec's shape and dtype; it may not overlap the frame. Raises InputError
        otherwise, SessionBusyError while another thread runs this one.
        """
        key: tuple[object, ...]
        memory: Any
        if isinstance(frame, Frame):
            key, memory = frame.layout, frame.planes
        elif isinstance(frame, np.ndarray):
            key, memory = (frame.shape, frame.strides), frame
        else:
            raise _not_a_frame(frame, self.spec.bits)
        try:
            plan, transform = self._plans[key]
        except KeyError:
            plan, transform = self._prepare(frame)
            self._plans[key] = plan, transform
            if len(self._plans) > _PLANS_KEPT:
                del self._plans[next(iter(self._plans))]
        plan.run(memory, out)
        return transform

    def _prepare(self, frame: Pixels) -> tuple[Plan, FrameTransform]:
        spec = self.spec
        reading: dict[str, Any]
        if isinstance(frame, Frame):
            width, height = frame.size_wh
            frame_color = "gray" if spec.color == "gray" else "bgr"
            reading = self._reading_of_yuv(frame)
        else:
            height, width, channels = check_frame(frame, spec.bits)
            frame_color = self.frame_color or _FRAME_COLOR_OF_COUNT[channels]
            reading = {
                "frame_shape": (height, width, channels),
                "frame_strides": frame.strides,
                "format": NATIVE_FORMATS.index("pixels" if spec.bits == 8 else "gray16"),
            }
        channels = reading["frame_shape"][2]
        sources = _source_channels(frame_color, channels, spec.color)
        transform = plan_transform((width, height), spec)
        plan = Plan(
            **reading,
            resized_wh=transform.resized_wh,
            blob_wh=transform.blob_wh,
            offset_xy=transform.offset_xy,
            interpolation=INTERPOLATIONS.index(spec.interpolation),
            sources=sources,
            to_gray=spec.color == "gray" and channels > 1,
            pad=spec.pad_values,
            mean=spec.mean,
            scale=tuple(1.0 / s for s in spec.std),
            as_float=spec.dtype == "float32",
            channels_last=spec.layout == "nhwc",
        )
        return plan, transform

    def _reading_of_yuv(self, frame: Frame) -> dict[str, Any]:
        """What a plan has to know to read a YUV frame."""
        if self.spec.bits != 8:
            raise InputError(
                f"frame: expected uint16 (H, W), of {self.spec.bits} bits, as the model takes it; "
                f"got {frame.format}"
            )
        width, height = frame.size_wh
        return {
            "frame_shape": (height, width, 1 if self.spec.color == "gray" else 3),
            "frame_strides": tuple(plane.strides[0] for plane in frame.planes),
            "format": NATIVE_FORMATS.index(frame.format),
            "rule": rule(frame.matrix or self.spec.yuv_matrix, frame.range or self.spec.yuv_range),
        }


def to_blob(
    frame: Pixels,
    spec: BlobSpec,
    *,
    out: NDArray[Any] | None = None,
    frame_color: str | None = None,
) -> tuple[NDArray[Any], FrameTransform]:
    """The blob of one frame, (1, C, H, W) or (1, H, W, C), and the geometry that maps it back.

    frame, frame_color: see `Preprocessor`, which is the faster one for many frames.
    out: the array to write, C-contiguous, of the spec's shape and dtype behind an axis of 1; None makes one.
    """
    shape = (1, *spec.shape)
    if out is None:
        out = np.empty(shape, spec.dtype)
    elif not isinstance(out, np.ndarray) or out.shape != shape:
        raise InputError(f"out: expected {spec.dtype} {shape}, got {_describe(out)}")
    transform = Preprocessor(spec, frame_color=frame_color)(frame, out[0])
    return out, transform


def check_frame(frame: NDArray[Any], bits: int = 8) -> tuple[int, int, int]:
    """(height, width, channels) of a frame of so many bits; raises InputError where it is not one."""
    dtype = np.uint8 if bits == 8 else np.uint16
    if not isinstance(frame, np.ndarray) or frame.dtype != dtype or frame.ndim not in (2, 3):
        raise _not_a_frame(frame, bits)
    height, width = frame.shape[:2]
    channels = frame.shape[2] if frame.ndim == 3 else 1
    if bits == 16 and channels != 1:
        raise _not_a_frame(frame, bits)
    if channels not in _FRAME_COLOR_OF_COUNT:
        remedy = "; frame.transpose(1, 2, 0) puts them last" if frame.shape[0] in (1, 3, 4) else ""
        raise InputError(f"frame: expected 1, 3 or 4 channels last, got shape {frame.shape}{remedy}")
    if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
        raise InputError(f"frame: expected 1 to {MAX_SIDE} pixels a side, got shape {frame.shape}")
    return height, width, channels


def _not_a_frame(frame: object, bits: int) -> InputError:
    if bits == 16:
        return InputError(
            "frame: expected uint16 (H, W), since the model takes gray pixels of 16 bits, "
            f"got {_describe(frame)}; image files and cameras give 8 bits: read such a file with "
            "cv2.IMREAD_UNCHANGED, or pipe frames in with --raw gray16le:WIDTHxHEIGHT"
        )
    return InputError(
        f"frame: expected uint8 (H, W) or (H, W, 1, 3 or 4), or an edgecv.Frame, got {_describe(frame)}; "
        f"{frame_remedy(frame)}"
    )


def _source_channels(frame_color: str, channels: int, color: str) -> tuple[int, ...]:
    """For each channel of the blob the frame's; for gray from color, the frame's b, g and r."""
    expected = 1 if frame_color == "gray" else len(frame_color)
    if channels != expected:
        raise InputError(
            f"frame: expected {expected} channels for frame_color {frame_color!r}, got {channels}"
        )
    wanted = "bgr" if color == "gray" else color
    if "d" in wanted and channels != 4:
        raise InputError(
            f"frame: expected 4 channels for a blob of color {color!r}, got {channels} ({frame_color})"
        )
    if frame_color == "gray":
        return (0,) * (1 if color == "gray" else len(wanted))
    return tuple(3 if c == "d" else frame_color.index(c) for c in wanted)


def _size(size_wh: Sequence[int], name: str) -> tuple[int, int]:
    try:
        width, height = (int(n) for n in size_wh if n == int(n))
    except (TypeError, ValueError, OverflowError):
        width = height = 0
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise InputError(f"{name}: expected (width, height), 1 to {MAX_SIDE} each, got {size_wh!r}")
    return width, height


def _one_of(value: object, choices: tuple[object, ...], field: str) -> None:
    if value not in choices:
        raise InputError(f"BlobSpec.{field}: expected one of {', '.join(map(str, choices))}, got {value!r}")


def _describe(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return type(value).__name__
