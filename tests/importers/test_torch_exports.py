"""Detectors of torchvision and of Hugging Face's transformers as PyTorch exports them, of random weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.drafts import draft

Array = np.ndarray

runtime = pytest.importorskip("onnxruntime", reason="the whole graph is run by the extra onnxruntime")


def needs(*names: str) -> Any:
    missing = [name for name in ("torch", *names) if find_spec(name) is None]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


pytestmark = pytest.mark.slow


def written(model: Any, read: Callable[[Any], Any]) -> Any:
    """A module of the model's weights that does what `read` does."""
    import torch

    class Written(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model.requires_grad_(False)

        def forward(self, images: Any) -> Any:
            return read(images)

    return Written()


def settle(model: Any, size: int) -> None:
    """Scale the layers behind random features, so that scores and boxes are as spread as a trained one's."""
    import torch
    from torch.nn import BatchNorm2d, Conv2d, Linear

    rng = torch.manual_seed(0)
    norms = [module for module in model.modules() if isinstance(module, BatchNorm2d)]
    settled: set[Any] = set()

    def once(module: Any, inputs: Any, out: Any) -> Any:
        if module in settled:
            return None
        settled.add(module)
        module.weight.mul_(1 / (out.std() + 1e-6))
        return module.forward(inputs[0])

    layers = [
        module
        for name, module in model.named_modules()
        if isinstance(module, Conv2d | Linear) and any(part in name for part in ("fpn", "head", "rpn"))
    ]
    with torch.no_grad():
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        model.backbone(torch.rand(4, 3, size, size, generator=rng) * 2 - 1)
        for norm in norms:
            norm.eval()
        hooks = [layer.register_forward_hook(once) for layer in layers]
        model([torch.rand(3, size, size, generator=rng)])
        for hook in hooks:
            hook.remove()


def ssdlite(models: Any) -> tuple[Any, int]:
    model = models.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=6)
    return model.eval(), 320


def retinanet(models: Any) -> tuple[Any, int]:
    model = models.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=6, min_size=128, max_size=128
    )
    return model.eval(), 128


def fcos(models: Any) -> tuple[Any, int]:
    model = models.fcos_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=6, min_size=256, max_size=256
    )
    return model.eval(), 256


def faster_rcnn(models: Any) -> tuple[Any, int]:
    model = models.fasterrcnn_mobilenet_v3_large_320_fpn(
        weights=None, weights_backbone=None, num_classes=6, min_size=128, max_size=128
    )
    return model.eval(), 128


def biased(model: Any) -> None:
    """Few scores over a threshold, boxes of about the size of their priors."""
    import torch

    with torch.no_grad():
        head = getattr(model, "head", None)
        logits = getattr(getattr(head, "classification_head", None), "cls_logits", None)
        regression = getattr(head, "regression_head", None)
        if logits is not None:
            logits.bias.fill_(-2.0)
            logits.bias[0::6] = -9.0
        if hasattr(regression, "bbox_ctrness"):
            regression.bbox_reg.bias.fill_(1.5)
        elif hasattr(regression, "bbox_reg"):
            regression.bbox_reg.weight.mul_(0.5)


# Each: the network, and whether its NMS can be cut off.
TORCHVISION: dict[str, tuple[Callable[[Any], tuple[Any, int]], bool]] = {
    "ssdlite": (ssdlite, True),
    "retinanet": (retinanet, True),
    "fcos": (fcos, True),
    "faster-rcnn": (faster_rcnn, False),
}


def exported(name: str, path: Path, opset: int) -> int:
    """Write the network, which takes a batch of one; its size."""
    import torch
    from torchvision.models import detection

    torch.manual_seed(0)
    model, size = TORCHVISION[name][0](detection)
    settle(model, size)
    biased(model)

    def read(images: Any) -> Any:
        found = model([images[0]])[0]
        return found["boxes"], found["scores"], found["labels"]

    torch.onnx.export(
        written(model, read),
        (torch.rand(1, 3, size, size),),
        str(path),
        dynamo=False,
        opset_version=opset,
        input_names=["images"],
        output_names=["boxes", "scores", "labels"],
    )
    return size


def frames(width: int, height: int) -> list[Array]:
    """Noise, and squares of one color."""
    rng = np.random.default_rng(0)
    squares = rng.integers(0, 256, (height // 32, width // 32, 3), np.uint8)
    return [
        rng.integers(0, 256, (height, width, 3), np.uint8),
        np.ascontiguousarray(squares.repeat(32, axis=0).repeat(32, axis=1)),
    ]


def blob(frame: Array) -> Array:
    return np.ascontiguousarray((frame[..., ::-1] / np.float32(255)).transpose(2, 0, 1))[None]


@needs("torchvision")
@pytest.mark.parametrize("opset", [11, 17])
@pytest.mark.parametrize("name", TORCHVISION)
@pytest.mark.filterwarnings("ignore")
def test_torchvisions_detectors_are_read(name: str, opset: int, tmp_path: Path) -> None:
    """Every object of the whole graph is found; where boxes without area took its places, others too."""
    path = tmp_path / "net.onnx"
    size = exported(name, path, opset)
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    is_cut = TORCHVISION[name][1]
    conf = None if is_cut else 0.05
    with edgecv.load(path, backend="simd", threads=1, cache=False, conf=conf) as detector:
        assert bool(detector.placement.tail) == is_cut
        for frame in frames(size, size):
            box, score, label = session.run(None, {"images": blob(frame)})
            real = (box[:, :2] < box[:, 2:]).all(axis=1) & (label > 0)
            found = detector(frame)
            expected = np.column_stack([box, 100 * score, 100 * (label - 1)])[real]
            got = np.column_stack([found.xyxy, 100 * found.confidence, 100 * found.class_id])
            assert len(expected) > 0
            assert len(got) == len(expected) or (is_cut and len(got) > len(expected))
            nearest = np.abs(expected[:, None] - got[None]).max(axis=2).min(axis=1)
            assert nearest.max() < 0.02


SMALL = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
    "num_queries": 20,
    "num_labels": 7,
}
OWN = {"use_timm_backbone": False, "use_pretrained_backbone": False, "backbone": None}


def backbone(kind: Any, *stages: str) -> Any:
    return kind(
        embedding_size=8,
        hidden_sizes=[8, 16, 24, 32],
        depths=[1] * 4,
        layer_type="basic",
        out_features=list(stages),
    )


def detr(hub: Any) -> Any:
    config = hub.DetrConfig(**SMALL, **OWN, backbone_config=backbone(hub.ResNetConfig, "stage4"))
    return hub.DetrForObjectDetection(config)


def conditional(hub: Any) -> Any:
    config = hub.ConditionalDetrConfig(**SMALL, **OWN, backbone_config=backbone(hub.ResNetConfig, "stage4"))
    return hub.ConditionalDetrForObjectDetection(config)


def rtdetr(hub: Any) -> Any:
    stages = backbone(hub.RTDetrResNetConfig, "stage2", "stage3", "stage4")
    more = {"encoder_hidden_dim": 32, "encoder_in_channels": [16, 24, 32], "decoder_in_channels": [32] * 3}
    config = hub.RTDetrConfig(**SMALL, **more, num_denoising=0, hidden_expansion=0.5, backbone_config=stages)
    return hub.RTDetrForObjectDetection(config)


def yolos(hub: Any) -> Any:
    config = hub.YolosConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=[64, 96],
        num_detection_tokens=20,
        num_labels=7,
    )
    return hub.YolosForObjectDetection(config)


# Each: the network, and whether a softmax with no object, the last class, makes its scores; else a sigmoid.
TRANSFORMERS: dict[str, tuple[Callable[[Any], Any], bool]] = {
    "detr": (detr, True),
    "yolos": (yolos, True),
    "conditional-detr": (conditional, False),
    "rt-detr": (rtdetr, False),
}


def decoded(logits: Array, boxes: Array, is_softmax: bool, width: int, height: int) -> Array:
    """(n, 6): xyxy, a hundred scores, a hundred classes; `post_process_object_detection` of transformers."""
    logits = logits.astype(np.float64)
    if is_softmax:
        scores = np.exp(logits - logits.max(axis=1, keepdims=True))
        scores = (scores / scores.sum(axis=1, keepdims=True))[:, :-1]
        query, label = np.arange(len(scores)), scores.argmax(axis=1)
    else:
        scores = 1 / (1 + np.exp(-logits))
        query, label = np.divmod(np.argsort(-scores.ravel(), kind="stable")[: len(scores)], scores.shape[1])
    center, half = boxes[query, :2], boxes[query, 2:] / 2
    xyxy = np.concatenate([center - half, center + half], axis=1) * np.array([width, height] * 2)
    score = scores[query, label]
    rows: Array = np.column_stack([xyxy, 100 * score, 100 * label])[score > 0.3]
    return rows


@needs("transformers")
@pytest.mark.parametrize("name", TRANSFORMERS)
@pytest.mark.filterwarnings("ignore")
def test_transformers_detectors_are_read(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a card that is drafted, as it is."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import torch
    import transformers

    torch.manual_seed(0)
    make, is_softmax = TRANSFORMERS[name]
    model = make(transformers).eval()
    with torch.no_grad():
        for part, weights in model.named_parameters():
            if weights.dim() > 1 and ("class" in part or "bbox" in part):
                weights.normal_(0, 0.7 if "class" in part else 0.12)

    def read(images: Any) -> Any:
        found = model(pixel_values=images)
        return found["logits"], found["pred_boxes"]

    width, height = 96, 64
    path = tmp_path / "net.onnx"
    picture = torch.rand(1, 3, height, width)
    names = {"input_names": ["pixel_values"], "output_names": ["logits", "pred_boxes"]}
    # What the older exporter makes of deformable attention ONNX Runtime does not run.
    newer: dict[str, Any] = {"dynamo": True, "opset_version": 18, "external_data": False}
    how = newer if name == "rt-detr" else {"dynamo": False, "opset_version": 17}
    torch.onnx.export(written(model, read), (picture,), str(path), **names, **how)
    card = draft(path, "queries").card
    mean, std = (np.array(value or (default,), np.float32) for value, default in
                 ((card.image_input.mean, 0.0), (card.image_input.std, 1.0)))  # fmt: skip
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with edgecv.load(path, backend="simd", threads=1, cache=False, conf=0.3) as detector:
        for frame in frames(width, height):
            fed = np.ascontiguousarray(((frame[..., ::-1] - mean) / std).transpose(2, 0, 1))[None]
            logits, boxes = session.run(None, {"pixel_values": fed})
            expected = decoded(logits[0], boxes[0], is_softmax, width, height)
            expected[:, :4] = np.clip(expected[:, :4], 0, [width, height] * 2)
            found = detector(frame)
            got = np.column_stack([found.xyxy, 100 * found.confidence, 100 * found.class_id])
            assert len(got) == len(expected)
            if len(got):
                nearest = np.abs(expected[:, None] - got[None]).max(axis=2).min(axis=1)
                assert nearest.max() < 0.05
