"""InputEntry: what a card states of one input of a network."""

# Without annotations from __future__: msgspec would have to compile them one by one when a model is loaded.

from typing import Annotated, Literal

import msgspec

from edgecv.image import BlobSpec
from edgecv.inputs import FACTS

PositiveInt = Annotated[int, msgspec.Meta(ge=1)]


class CardStruct(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """A part of a card: unknown fields are errors, and defaults are not written."""


class InputEntry(CardStruct, frozen=True):
    """One input of the network, and how a frame becomes it; see `image.BlobSpec` for the terms.

    layout: the order of its axes; without n it has no batch axis. dtype: of the blob; float32 is rounded for
    a network of float16. facts: in place of a picture, numbers that say where the frame lies in it: each is
    a name out of `inputs.FACTS`, or itself; the network says in which type. shape: of those of one picture,
    where the network leaves it open.
    """

    name: str
    # Every picture has one; facts have none.
    size_wh: tuple[PositiveInt, PositiveInt] = None  # type: ignore[assignment]
    layout: Literal["nchw", "nhwc", "chw", "hwc"] = "nchw"
    channels: PositiveInt = 3
    color: Literal["bgr", "rgb", "gray", "bgrd", "rgbd"] = "bgr"
    resize: Literal["letterbox", "stretch", "crop"] = "letterbox"
    anchor: Literal["center", "top-left"] = "center"
    rounding: Literal["nearest", "floor"] = "nearest"
    pad_value: float | tuple[float, ...] = 114.0
    interpolation: Literal["linear", "area", "nearest"] = "linear"
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    dtype: Literal["float32", "float16", "float64", "uint8"] = "float32"
    bits: Literal[8, 16] = 8
    yuv_matrix: Literal["bt601", "bt709"] = "bt601"
    yuv_range: Literal["limited", "full"] = "limited"
    facts: tuple[str | float, ...] = ()
    shape: tuple[PositiveInt, ...] = ()

    def __post_init__(self) -> None:
        if self.facts:
            self._check_facts()
            return
        if self.size_wh is None:
            raise ValueError("missing required field `size_wh`, or `facts` in place of a picture")
        if self.shape:
            raise ValueError("`shape` is that of `facts`: a picture has its `size_wh` and `layout`")
        for field in ("mean", "std"):
            given = len(getattr(self, field))
            if given not in (0, self.channels):
                raise ValueError(f"`{field}` has {given} values for {self.channels} channels")
        if isinstance(self.pad_value, tuple) and len(self.pad_value) != self.channels:
            raise ValueError(f"`pad_value` has {len(self.pad_value)} values for {self.channels} channels")
        colors = 1 if self.color == "gray" else len(self.color)
        if colors != self.channels:
            raise ValueError(f"`color` {self.color} has {colors} channels, `channels` says {self.channels}")
        if any(not value for value in self.std):
            raise ValueError("`std` has a zero")
        if self.bits == 16 and (self.color, self.dtype) != ("gray", "float32"):
            raise ValueError(
                f"`bits` 16 is for `color` gray and `dtype` float32, got {self.color} and {self.dtype}"
            )

    def _check_facts(self) -> None:
        for fact in self.facts:
            if isinstance(fact, str) and fact not in FACTS:
                raise ValueError(f"`facts` has {fact[:40]!r}: expected numbers, and of {', '.join(FACTS)}")
        fields, defaults = self.__struct_fields__[1:], self.__struct_defaults__
        for field, default in zip(fields, defaults, strict=True):
            if field not in ("facts", "shape") and getattr(self, field) != default:
                raise ValueError(f"`{field}` and `facts` are both given: facts stand in place of a picture")

    def blob_spec(self, size_wh: tuple[int, int] | None = None) -> BlobSpec:
        """The preprocessing of this input, at another size where one is given."""
        return BlobSpec(
            size_wh=size_wh or self.size_wh,
            color=self.color,
            resize=self.resize,
            anchor=self.anchor,
            rounding=self.rounding,
            pad_value=self.pad_value,
            interpolation=self.interpolation,
            mean=self.mean or (0.0,) * self.channels,
            std=self.std or (1.0,) * self.channels,
            dtype="uint8" if self.dtype == "uint8" else "float32",
            layout="nhwc" if self.layout.endswith("c") else "nchw",
            bits=self.bits,
            yuv_matrix=self.yuv_matrix,
            yuv_range=self.yuv_range,
        )
