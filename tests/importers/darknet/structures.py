"""Darknet networks for tests: one for each layer, and the topologies of Tiny YOLO and YOLOv2.

`CASES` lists them with what says whether an importer is right: OpenCV 4, which still reads Darknet, or
NumPy (`reference`) for what OpenCV does not read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from tests.importers.darknet import reference

Truth = Literal["opencv", "numpy"]

VOC = 20
ANCHORS_V2 = "1.08,1.19, 3.42,4.41, 6.63,11.38, 9.42,5.11, 16.62,10.52"
ANCHORS_TINY = "10,14, 23,27, 37,58, 81,82, 135,169, 344,319"


def net(width: int = 16, height: int | None = None, channels: int = 3) -> str:
    return section("net", batch=1, width=width, height=height or width, channels=channels)


def section(kind: str, **options: object) -> str:
    """The text of a section; a trailing underscore of an option's name is dropped."""
    lines = "".join(f"{key.rstrip('_')}={value}\n" for key, value in options.items())
    return f"[{kind}]\n{lines}\n"


def conv(filters: int, size: int = 3, stride: int = 1, activation: str = "leaky", **more: object) -> str:
    options: dict[str, object] = {
        "batch_normalize": 1,
        "filters": filters,
        "size": size,
        "stride": stride,
        "pad": 1,
        "activation": activation,
    }
    return section("convolutional", **{**options, **more})


def raw(filters: int) -> str:
    """The last convolution before a detection layer."""
    return conv(filters, 1, activation="linear", batch_normalize=0)


def maxpool(size: int = 2, stride: int = 2, **more: object) -> str:
    return section("maxpool", size=size, stride=stride, **more)


def route(layers: str, **more: object) -> str:
    return section("route", layers=layers, **more)


def shortcut(source: str, activation: str = "linear", **more: object) -> str:
    return section("shortcut", from_=source, activation=activation, **more)


def yolo(mask: str, anchors: str = ANCHORS_TINY, classes: int = VOC, **more: object) -> str:
    options: dict[str, object] = {"mask": mask, "anchors": anchors, "classes": classes}
    return section("yolo", **options, num=len(anchors.split(",")) // 2, **more)


def tiny_yolo_v1(divisor: int = 1, size: int = 448) -> str:
    body = "".join(conv(f // divisor) + maxpool() for f in (16, 32, 64, 128, 256, 512))
    body += conv(1024 // divisor) + conv(256 // divisor)
    cells = size // 64
    body += section("connected", output=cells**2 * (VOC + 2 * 5), activation="linear")
    detection = {"classes": VOC, "coords": 4, "rescore": 1, "side": cells, "num": 2, "softmax": 0, "sqrt": 1}
    return net(size) + body + section("detection", **detection)


def tiny_yolo_v2(divisor: int = 1, size: int = 416) -> str:
    body = "".join(conv(f // divisor) + maxpool() for f in (16, 32, 64, 128, 256))
    body += conv(512 // divisor) + maxpool(2, 1) + conv(1024 // divisor) + conv(1024 // divisor)
    return net(size) + body + raw(5 * (VOC + 5)) + region()


def region(classes: int = VOC) -> str:
    return section(
        "region", anchors=ANCHORS_V2, bias_match=1, classes=classes, coords=4, num=5, softmax=1, jitter=0.2
    )


def yolo_v2(divisor: int = 1, size: int = 416) -> str:
    def stage(filters: int, count: int) -> str:
        pair = (conv(filters // divisor), conv(filters // 2 // divisor, 1))
        return "".join(pair[number % 2] for number in range(count))

    body = conv(32 // divisor) + maxpool() + conv(64 // divisor) + maxpool()
    body += stage(128, 3) + maxpool() + stage(256, 3) + maxpool() + stage(512, 5) + maxpool()
    body += stage(1024, 5) + conv(1024 // divisor) + conv(1024 // divisor)
    body += route("-9") + conv(64 // divisor, 1) + section("reorg", stride=2) + route("-1,-4")
    return net(size) + body + conv(1024 // divisor) + raw(5 * (VOC + 5)) + region()


def tiny_yolo_v3(divisor: int = 1, size: int = 416) -> str:
    body = "".join(conv(f // divisor) + maxpool() for f in (16, 32, 64, 128, 256))
    body += conv(512 // divisor) + maxpool(2, 1) + conv(1024 // divisor) + conv(256 // divisor, 1)
    body += conv(512 // divisor) + raw(3 * (VOC + 5)) + yolo("3,4,5")
    body += route("-4") + conv(128 // divisor, 1) + section("upsample", stride=2) + route("-1, 8")
    return net(size) + body + conv(256 // divisor) + raw(3 * (VOC + 5)) + yolo("0,1,2")


def tiny_yolo_v4(divisor: int = 1, size: int = 416) -> str:
    def stage(filters: int) -> str:
        full, half = filters // divisor, filters // 2 // divisor
        split = conv(full) + route("-1", groups=2, group_id=1) + conv(half) + conv(half) + route("-1,-2")
        return split + conv(full, 1) + route("-6,-1") + maxpool()

    body = conv(32 // divisor, stride=2) + conv(64 // divisor, stride=2) + stage(64) + stage(128) + stage(256)
    body += conv(512 // divisor) + conv(256 // divisor, 1) + conv(512 // divisor)
    body += raw(3 * (VOC + 5)) + yolo("3,4,5", scale_x_y=1.05)
    body += route("-4") + conv(128 // divisor, 1) + section("upsample", stride=2) + route("-1, 23")
    body += conv(256 // divisor) + raw(3 * (VOC + 5)) + yolo("1,2,3", scale_x_y=1.05)
    return net(size) + body


@dataclass(frozen=True)
class Structure:
    """One network. cfg: makes its text. truth: what its numbers are held against. is_slow: full size."""

    id: str
    cfg: Callable[[], str]
    truth: Truth = "opencv"
    is_slow: bool = False
    is_topology: bool = False

    @property
    def opencv_cfg(self) -> str:
        """The cfg without the [detection] at its end, which OpenCV does not know."""
        return self.cfg().split("[detection]")[0]

    def weights(self) -> bytes:
        """A weights file with random values."""
        return reference.random_weights(self.cfg())


def _one(id: str, *layers: str, truth: Truth = "opencv", head: str | None = None) -> Structure:
    return Structure(id, lambda: (head or net()) + "".join(layers), truth)


def _activation(name: str, truth: Truth) -> Structure:
    # Convolutions without normalization reach the values between which a piecewise function bends.
    wide = section("convolutional", filters=8, size=3, pad=1, activation=name)
    return _one(f"activation-{name}", conv(8, activation="linear", batch_normalize=0), wide, truth=truth)


_OPENCV_ACTIVATIONS = ("linear", "leaky", "relu", "logistic", "mish", "swish", "tanh")
_NUMPY_ACTIVATIONS = tuple(name for name in reference.ACTIVATIONS if name not in _OPENCV_ACTIVATIONS)

_SQUEEZE = section("avgpool") + conv(4, 1, activation="relu", batch_normalize=0)
_EXCITE = conv(8, 1, activation="logistic", batch_normalize=0)

_READ_BY_OPENCV = (
    _one("convolutional", conv(8, batch_normalize=0)),
    _one("convolutional-batch-normalize", conv(8)),
    _one("convolutional-5x5-stride-2", conv(8, 5, 2)),
    _one("convolutional-even-size", conv(8, 2, 1)),
    _one("convolutional-no-pad", conv(8, pad=0)),
    _one("convolutional-padding", conv(8, pad=0, padding=2)),
    _one("convolutional-pad-over-padding", conv(8, pad=1, padding=2)),
    _one("convolutional-groups", conv(8), conv(12, groups=4)),
    _one("convolutional-depthwise", conv(8), conv(8, groups=8)),
    _one("convolutional-not-square", conv(8, stride=2), conv(4), head=net(21, 14)),
    _one("convolutional-gray", conv(8), head=net(16, 16, 1)),
    *(_activation(name, "opencv") for name in _OPENCV_ACTIVATIONS),
    _one("connected", conv(4), section("connected", output=10, activation="relu")),
    _one("connected-twice", section("connected", output=7, activation="leaky") * 2),
    _one("maxpool", conv(4), maxpool()),
    _one("maxpool-odd", conv(4), maxpool(), head=net(13, 17)),
    _one("maxpool-stride-1", conv(4), maxpool(2, 1)),
    _one("maxpool-stride-1-odd", conv(4), maxpool(2, 1), head=net(13, 11)),
    _one("maxpool-3x3", conv(4), maxpool(3, 2)),
    _one(
        "maxpool-spp",
        conv(4) + maxpool(5, 1) + route("-2") + maxpool(9, 1) + route("-4") + maxpool(13, 1),
        route("-1,-3,-5,-6"),
    ),
    _one("maxpool-no-padding", conv(4), maxpool(3, 2, padding=0)),
    _one("maxpool-padding", conv(4), maxpool(3, 2, padding=1)),
    _one("avgpool", conv(4), section("avgpool")),
    _one("dropout", conv(4), section("dropout", probability=0.5), conv(4)),
    _one("softmax", conv(6), section("avgpool"), section("softmax", groups=1)),
    _one("softmax-cost", conv(6), section("avgpool"), section("softmax"), section("cost", type="sse")),
    _one("softmax-spatial", conv(8), section("softmax", spatial=1)),
    _one("upsample", conv(4), section("upsample", stride=2)),
    _one("upsample-3", conv(4), section("upsample", stride=3)),
    _one("route-back", conv(4), conv(5), route("-2")),
    _one("route-absolute", conv(4), conv(5), conv(6), route("0,-1,1")),
    _one("route-groups", conv(8), route("-1", groups=2, group_id=1)),
    _one("shortcut", conv(4), conv(4), shortcut("-2")),
    _one("shortcut-activation", conv(4), conv(4), shortcut("-2", "leaky")),
    _one("shortcut-from-wider", conv(8), conv(4), shortcut("-2")),
    _one("shortcut-from-narrower", conv(4), conv(8), shortcut("-2")),
    _one("sam", conv(4), conv(4, activation="logistic"), section("sam", from_=-2)),
    _one("scale-channels", conv(8), _SQUEEZE, _EXCITE, section("scale_channels", from_=-4)),
    _one("reorg", conv(8), section("reorg", stride=2)),
    _one("reorg-wide", conv(64), section("reorg", stride=2), head=net(26, 18)),
    _one("reorg-4", conv(16), section("reorg", stride=4)),
    _one("crop", section("crop", crop_width=12, crop_height=11)),
    _one("crop-noadjust", section("crop", crop_width=12, crop_height=9, noadjust=1), conv(4)),
    _one("yolo", raw(3 * (VOC + 5)), yolo("0,1,2")),
    _one("region", raw(5 * (VOC + 5)), region()),
)


def _weighted(kind: str, normalization: str, from_: str = "-2") -> Structure:
    options = {"weights_type": kind, "weights_normalization": normalization}
    layers = conv(6) + conv(8) + conv(8) + shortcut(from_, **options)
    return _one(f"shortcut-{kind}-{normalization}-{from_}", layers, truth="numpy")


_LACKED_BY_OPENCV = (
    _one("route-groups-of-several", conv(8), conv(4), route("-1,-2", groups=2), conv(4), truth="numpy"),
    _one("crop-and-more", section("crop", crop_width=11, crop_height=12), conv(4), truth="numpy"),
    _one("convolutional-dilation", conv(8, dilation=2), conv(8, 5, dilation=3), truth="numpy"),
    _one("convolutional-stride-x-y", conv(8, stride_x=2, stride_y=1), truth="numpy"),
    _one("convolutional-flipped", conv(8, flipped=1), truth="numpy"),
    _one("convolutional-default-activation", section("conv", filters=4, size=3), truth="numpy"),
    _one(
        "depthwise",
        conv(8),
        section("depthwise_convolutional", size=3, stride=2, pad=1, batch_normalize=1, activation="relu6"),
        section("depthwise_convolutional", size=3, padding=1, activation="leaky"),
        truth="numpy",
    ),
    *(_activation(name, "numpy") for name in _NUMPY_ACTIVATIONS),
    _one("activation", conv(4), section("activation", activation="elu"), truth="numpy"),
    _one(
        "connected-batch-normalize",
        section("connected", output=10, batch_normalize=1, activation="leaky"),
        truth="numpy",
    ),
    _one("local", section("local", filters=4, size=3, stride=1, pad=1, activation="leaky"), truth="numpy"),
    _one("local-no-pad", section("local", filters=4, size=3, stride=2, activation="relu"), truth="numpy"),
    _one("local-avgpool", conv(4), section("local_avgpool", size=3, stride=2), truth="numpy"),
    _one("local-avgpool-odd", conv(4), section("local_avgpool", size=2, stride=1), truth="numpy"),
    _one("maxpool-stride-x-y", conv(4), maxpool(3, 2, stride_x=1), truth="numpy"),
    _one("maxpool-depth", conv(12), maxpool(1, 1, maxpool_depth=1, out_channels=4), truth="numpy"),
    _one("batchnorm", conv(4), section("batchnorm"), truth="numpy"),
    _one("normalization", conv(12), section("normalization", size=5, alpha=0.1), truth="numpy"),
    _one("normalization-even", conv(6), section("lrn", size=4, alpha=0.02, kappa=2), truth="numpy"),
    _one("softmax-groups", conv(8), section("avgpool"), section("softmax", groups=2), truth="numpy"),
    _one("softmax-temperature", conv(8), section("softmax", temperature=2.5), truth="numpy"),
    _one("upsample-scale", conv(4), section("upsample", stride=2, scale=0.5), truth="numpy"),
    _one("reorg-old", conv(8), section("reorg_old", stride=2), truth="numpy"),
    _one("reorg-reverse", conv(16), section("reorg", stride=2, reverse=1), truth="numpy"),
    _one("reorg3d", conv(3), section("reorg3d", stride=2), truth="numpy"),
    _one("reorg3d-reverse", conv(32), section("reorg3d", stride=2, reverse=1), truth="numpy"),
    _one("shortcut-several", conv(6), conv(4), conv(4), shortcut("-2,0"), truth="numpy"),
    _one("shortcut-from-larger", conv(4), conv(6, stride=2), shortcut("-2", "relu"), truth="numpy"),
    *(
        _weighted(kind, normalization)
        for kind in ("per_feature", "per_channel")
        for normalization in ("none", "relu", "softmax")
    ),
    _weighted("per_channel", "softmax", "-2,0"),
    _one(
        "scale-wh",
        conv(6),
        conv(1, activation="logistic"),
        section("scale_channels", from_=-2, scale_wh=1, activation="leaky"),
        truth="numpy",
    ),
    _one(
        "detection",
        section("connected", output=4 * (3 + 2 * 5), activation="linear"),
        section("detection", classes=3, coords=4, side=2, num=2),
    ),
)

_TOPOLOGIES = {
    "tiny-yolo-v1": tiny_yolo_v1,
    "tiny-yolo-v2": tiny_yolo_v2,
    "tiny-yolo-v3": tiny_yolo_v3,
    "tiny-yolo-v4": tiny_yolo_v4,
    "yolo-v2": yolo_v2,
}

CASES: tuple[Structure, ...] = (
    *_READ_BY_OPENCV,
    *_LACKED_BY_OPENCV,
    *(Structure(f"{name}-eighth", partial(make, 8), is_topology=True) for name, make in _TOPOLOGIES.items()),
    *(Structure(name, make, is_slow=True, is_topology=True) for name, make in _TOPOLOGIES.items()),
)
