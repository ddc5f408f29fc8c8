"""The network: depthwise separable, anchor-free, 0.3 million parameters.

A stem and four stages down to stride 32, an additive path aggregation (PANet, Liu et al. 2018) on 64
channels, and YOLOX's decoupled head (Ge et al. 2021) on strides 8, 16 and 32. ReLU and channel counts that
are multiples of 16, because small CPUs, int8 and SIMD lanes like both.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDES = (8, 16, 32)
NECK = 64


def convolution(
    channels_in: int, channels_out: int, kernel: int, stride: int = 1, groups: int = 1
) -> list[nn.Module]:
    """Convolution and batch normalization, padded to keep ceil(size / stride)."""
    return [
        nn.Conv2d(channels_in, channels_out, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels_out, eps=1e-3, momentum=0.03),
    ]


class Separable(nn.Module):
    """Depthwise 3x3, then pointwise; a residual where the channels allow it."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *convolution(channels_in, channels_in, 3, groups=channels_in),
            nn.ReLU(inplace=True),
            *convolution(channels_in, channels_out, 1),
        )
        self.is_residual = channels_in == channels_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.body(x)
        return functional.relu(x + y if self.is_residual else y)


def pointwise(channels_in: int, channels_out: int) -> nn.Sequential:
    return nn.Sequential(*convolution(channels_in, channels_out, 1), nn.ReLU(inplace=True))


class Backbone(nn.Module):
    """(N, 3, H, W) to features of strides 8, 16 and 32."""

    CHANNELS = (64, 128, 160)

    def __init__(self) -> None:
        super().__init__()
        # Dense and pooled downsampling: a strided depthwise convolution trains several times slower.
        self.stem = nn.Sequential(*convolution(3, 16, 3, 2), nn.ReLU(inplace=True))
        self.stage4 = nn.Sequential(*convolution(16, 32, 3, 2), nn.ReLU(inplace=True), Separable(32, 32))
        self.stage8 = nn.Sequential(
            *convolution(32, 64, 3, 2), nn.ReLU(inplace=True), *(Separable(64, 64) for _ in range(3))
        )
        self.stage16 = nn.Sequential(
            nn.MaxPool2d(2), Separable(64, 128), *(Separable(128, 128) for _ in range(4))
        )
        self.stage32 = nn.Sequential(
            nn.MaxPool2d(2), Separable(128, 160), *(Separable(160, 160) for _ in range(2))
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p8 = self.stage8(self.stage4(self.stem(x)))
        p16 = self.stage16(p8)
        return p8, p16, self.stage32(p16)


class Neck(nn.Module):
    """Features of three strides, each with what the other two know; 64 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(pointwise(channels, NECK) for channels in Backbone.CHANNELS)
        self.top_down = nn.ModuleList(Separable(NECK, NECK) for _ in range(2))
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), Separable(NECK, NECK)) for _ in range(2))
        self.bottom_up = nn.ModuleList(Separable(NECK, NECK) for _ in range(2))

    def forward(self, features: tuple[Tensor, Tensor, Tensor]) -> list[Tensor]:
        p8, p16, p32 = (lateral(f) for lateral, f in zip(self.lateral, features, strict=True))
        p16 = self.top_down[0](p16 + functional.interpolate(p32, scale_factor=2.0, mode="nearest"))
        p8 = self.top_down[1](p8 + functional.interpolate(p16, scale_factor=2.0, mode="nearest"))
        p16 = self.bottom_up[0](p16 + self.down[0](p8))
        p32 = self.bottom_up[1](p32 + self.down[1](p16))
        return [p8, p16, p32]


class LevelHead(nn.Module):
    """One stride's output: dx, dy, log w, log h, objectness logit, class logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.class_tower = nn.Sequential(Separable(NECK, NECK), Separable(NECK, NECK))
        self.box_tower = nn.Sequential(Separable(NECK, NECK), Separable(NECK, NECK))
        self.classes = nn.Conv2d(NECK, classes, 1)
        self.box = nn.Conv2d(NECK, 4, 1)
        self.objectness = nn.Conv2d(NECK, 1, 1)
        # A prior of 1 %: most cells are background (Lin et al. 2017, focal loss, section 3.3).
        for prediction in (self.classes, self.objectness):
            nn.init.constant_(prediction.bias, -math.log(99))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        of_box = self.box_tower(x)
        return self.box(of_box), self.objectness(of_box), self.classes(self.class_tower(x))


class PartsNano(nn.Module):
    """A detector. H and W are multiples of 32.

    forward: float32 (N, 3, H, W), BGR in 0..1, to float32 (N, cells, 5 + classes): a row a cell, strides
    8, 16, 32 in turn, row by row. While training (`as_logits`) objectness and classes are logits, as
    exported they are probabilities.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.backbone = Backbone()
        self.neck = Neck()
        self.heads = nn.ModuleList(LevelHead(classes) for _ in STRIDES)
        self.as_logits = True

    def forward(self, x: Tensor) -> Tensor:
        rows = []
        for head, features in zip(self.heads, self.neck(self.backbone(x)), strict=True):
            box, objectness, classes = head(features)
            if not self.as_logits:
                objectness, classes = objectness.sigmoid(), classes.sigmoid()
            rows.append(torch.cat([box, objectness, classes], 1).flatten(2))
        return torch.cat(rows, 2).transpose(1, 2)


def cells(size_wh: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Upper left corners in strides, float32 (cells, 2), and strides in pixels, float32 (cells, 1)."""
    corners, strides = [], []
    for stride in STRIDES:
        columns, rows = size_wh[0] // stride, size_wh[1] // stride
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        corners.append(torch.stack([x, y], -1).reshape(-1, 2).float())
        strides.append(torch.full((rows * columns, 1), float(stride)))
    return torch.cat(corners), torch.cat(strides)
