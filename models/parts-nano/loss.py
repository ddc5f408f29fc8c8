"""YOLOX's loss: SimOTA assignment, IoU and L1 for boxes, binary cross entropy for the rest.

Ge et al. 2021, "YOLOX: Exceeding YOLO Series in 2021", sections 2.1 (SimOTA) and 2.2; the constants are those
of the paper's code. All pictures of a batch are assigned at once, over padded ground truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from network import cells
from torch import Tensor
from torch.nn import functional

CENTER_RADIUS = 2.5
CANDIDATES = 10
IOU_WEIGHT = 5.0
IMPOSSIBLE = 1e6


@dataclass(frozen=True)
class Truth:
    """Ground truth of a batch, padded. xyxy: float32 (N, G, 4), pixels; class_id: int64 (N, G); is_real:
    bool (N, G)."""

    xyxy: Tensor
    class_id: Tensor
    is_real: Tensor


@dataclass(frozen=True)
class Losses:
    """Scalars; total is what is minimized."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor


def decode(raw: Tensor, corners: Tensor, strides: Tensor) -> Tensor:
    """dx, dy, log w, log h in strides, (..., cells, 4), to xyxy in pixels."""
    center = (raw[..., :2] + corners) * strides
    half = raw[..., 2:].clamp(max=8).exp() * strides / 2
    return torch.cat([center - half, center + half], -1)


def overlaps(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """IoU and generalized IoU (Rezatofighi et al. 2019) of xyxy boxes that broadcast."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    intersection = (high - low).clamp(min=0).prod(-1)
    area = (a[..., 2:] - a[..., :2]).prod(-1) + (b[..., 2:] - b[..., :2]).prod(-1)
    union = area - intersection
    iou = intersection / union.clamp(min=1e-6)
    hull = (torch.maximum(a[..., 2:], b[..., 2:]) - torch.minimum(a[..., :2], b[..., :2])).prod(-1)
    return iou, iou - (hull - union) / hull.clamp(min=1e-6)


@torch.no_grad()
def assign(
    boxes: Tensor, scores: Tensor, truth: Truth, centers: Tensor, strides: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """SimOTA: which cell answers for which object.

    boxes: xyxy (N, A, 4). scores: probabilities (N, A, classes), objectness included. centers, strides:
    pixels, (A, 2) and (A, 1). Returns is_positive bool (N, A), object int64 (N, A), iou float32 (N, A).
    """
    x, y = centers[:, 0], centers[:, 1]
    left, top, right, bottom = truth.xyxy[..., None].unbind(2)
    inside_box = (x > left) & (x < right) & (y > top) & (y < bottom)
    radius = CENTER_RADIUS * strides[:, 0]
    near = ((x - (left + right) / 2).abs() < radius) & ((y - (top + bottom) / 2).abs() < radius)
    real = truth.is_real[..., None]
    candidate = (inside_box | near) & real
    iou, _ = overlaps(truth.xyxy[:, :, None], boxes[:, None])
    iou = iou * candidate

    of_class = scores.sqrt().clamp(1e-4, 1 - 1e-4)
    cost_all_wrong = -(1 - of_class).log().sum(-1)
    gathered = of_class.gather(2, truth.class_id[:, None].expand(-1, scores.shape[1], -1)).transpose(1, 2)
    class_cost = cost_all_wrong[:, None] + (1 - gathered).log() - gathered.log()
    cost = class_cost - 3 * iou.clamp(min=1e-8).log()
    cost = cost + 1e4 * ~(inside_box & near) + IMPOSSIBLE * ~candidate

    best_ious = iou.topk(CANDIDATES, dim=2).values
    wanted = best_ious.sum(2).int().clamp(min=1)
    cheapest = cost.topk(CANDIDATES, dim=2, largest=False)
    taken = torch.arange(CANDIDATES) < wanted[..., None]
    taken = taken & (cheapest.values < IMPOSSIBLE) & real
    matched = torch.zeros_like(cost, dtype=torch.bool).scatter_(2, cheapest.indices, taken)
    # A cell that several objects want goes to the one that it costs least.
    owner = torch.where(matched, cost, torch.full_like(cost, torch.inf)).argmin(1)
    is_positive = matched.any(1)
    return is_positive, owner, iou.gather(1, owner[:, None])[:, 0] * is_positive


def loss(raw: Tensor, truth: Truth, size_wh: tuple[int, int]) -> Losses:
    """raw: float32 (N, cells, 5 + classes) with logits, as the network trains."""
    corners, strides = cells(size_wh)
    boxes = decode(raw[..., :4], corners, strides)
    with torch.no_grad():
        scores = raw[..., 5:].sigmoid() * raw[..., 4:5].sigmoid()
    centers = (corners + 0.5) * strides
    is_positive, owner, iou = assign(boxes.detach(), scores, truth, centers, strides)
    count = is_positive.sum().clamp(min=1)

    picture, cell = is_positive.nonzero(as_tuple=True)
    target = truth.xyxy[picture, owner[picture, cell]]
    _, giou = overlaps(boxes[picture, cell], target)
    stride = strides[cell]
    wanted = torch.cat(
        [
            (target[:, :2] + target[:, 2:]) / 2 / stride - corners[cell],
            ((target[:, 2:] - target[:, :2]) / stride).clamp(min=1e-4).log(),
        ],
        1,
    )
    l1 = (raw[picture, cell, :4] - wanted).abs().sum() / count
    box = (1 - giou).sum() / count
    objectness = (
        functional.binary_cross_entropy_with_logits(raw[..., 4], is_positive.float(), reduction="sum") / count
    )
    # The class is trained towards the IoU, so that confidence ranks boxes by their quality.
    labels = functional.one_hot(truth.class_id[picture, owner[picture, cell]], raw.shape[2] - 5).float()
    labels = labels * iou[picture, cell, None]
    classes = (
        functional.binary_cross_entropy_with_logits(raw[picture, cell, 5:], labels, reduction="sum") / count
    )
    return Losses(IOU_WEIGHT * box + l1 + objectness + classes, box, objectness, classes)
