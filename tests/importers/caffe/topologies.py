"""The networks that Caffe is known by, at their width or a part of it, with random weights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.importers.caffe.nets import Net, Pair


def _wide(channels: int, divisor: int) -> int:
    return max(4, channels // divisor)


def alexnet(divisor: int = 1) -> Net:
    """BVLC's reference AlexNet: groups, LRN across channels, ceil pooling."""
    net = Net("alexnet")

    def wide(channels: int) -> int:
        return _wide(channels, divisor)

    x = net.relu(net.conv(net.input(1, 3, 227, 227), wide(96), 11, stride=4, name="conv1"))
    x = net.pool(net.add("LRN", x, {"local_size": 5, "alpha": 0.0001, "beta": 0.75}), kernel=3)
    x = net.relu(net.conv(x, wide(256), 5, pad=2, group=2, name="conv2"))
    x = net.pool(net.add("LRN", x, {"local_size": 5, "alpha": 0.0001, "beta": 0.75}), kernel=3)
    x = net.relu(net.conv(x, wide(384), 3, pad=1, name="conv3"))
    x = net.relu(net.conv(x, wide(384), 3, pad=1, group=2, name="conv4"))
    x = net.pool(net.relu(net.conv(x, wide(256), 3, pad=1, group=2, name="conv5")), kernel=3)
    for name in ("fc6", "fc7"):
        x = net.relu(net.fc(x, wide(4096), name=name))
        net.add("Dropout", x, {"dropout_ratio": 0.5}, tops=x)
    x = net.fc(x, 1000 // divisor, name="fc8")
    net.add("Softmax", x, name="prob")
    return net


def googlenet(divisor: int = 1) -> Net:
    """Inception of 2014: branches, LRN, ceil pooling, an average over the whole map."""
    net = Net("googlenet")

    def conv(bottom: str, channels: int, kernel: int, name: str, **how: Any) -> str:
        return net.relu(net.conv(bottom, _wide(channels, divisor), kernel, name=name, **how))

    def inception(bottom: str, name: str, a: int, b: Sequence[int], c: Sequence[int], d: int) -> str:
        parts = [
            conv(bottom, a, 1, f"{name}/1x1"),
            conv(conv(bottom, b[0], 1, f"{name}/3x3_reduce"), b[1], 3, f"{name}/3x3", pad=1),
            conv(conv(bottom, c[0], 1, f"{name}/5x5_reduce"), c[1], 5, f"{name}/5x5", pad=2),
            conv(net.pool(bottom, kernel=3, stride=1, pad=1), d, 1, f"{name}/pool_proj"),
        ]
        return net.concat(*parts, name=f"{name}/output")

    x = conv(net.input(1, 3, 224, 224), 64, 7, "conv1/7x7_s2", stride=2, pad=3)
    x = net.add("LRN", net.pool(x, kernel=3), {"local_size": 5, "alpha": 0.0001, "beta": 0.75})
    x = conv(conv(x, 64, 1, "conv2/3x3_reduce"), 192, 3, "conv2/3x3", pad=1)
    x = net.pool(net.add("LRN", x, {"local_size": 5, "alpha": 0.0001, "beta": 0.75}), kernel=3)
    x = inception(x, "inception_3a", 64, (96, 128), (16, 32), 32)
    x = net.pool(inception(x, "inception_3b", 128, (128, 192), (32, 96), 64), kernel=3)
    x = inception(x, "inception_4a", 192, (96, 208), (16, 48), 64)
    x = inception(x, "inception_4b", 160, (112, 224), (24, 64), 64)
    x = inception(x, "inception_4c", 128, (128, 256), (24, 64), 64)
    x = inception(x, "inception_4d", 112, (144, 288), (32, 64), 64)
    x = net.pool(inception(x, "inception_4e", 256, (160, 320), (32, 128), 128), kernel=3)
    x = inception(x, "inception_5a", 256, (160, 320), (32, 128), 128)
    x = inception(x, "inception_5b", 384, (192, 384), (48, 128), 128)
    x = net.pool(x, "AVE", 7, 1, name="pool5/7x7_s1")
    net.add("Dropout", x, {"dropout_ratio": 0.4}, tops=x)
    x = net.fc(x, 1000 // divisor, name="loss3/classifier")
    net.add("Softmax", x, name="prob")
    return net


def squeezenet(divisor: int = 1) -> Net:
    """Version 1.0: fire modules, no fully connected layer."""
    net = Net("squeezenet")

    def fire(bottom: str, number: int, squeeze: int, expand: int) -> str:
        name = f"fire{number}"
        squeezed = net.relu(net.conv(bottom, _wide(squeeze, divisor), 1, name=f"{name}/squeeze1x1"))
        parts = [
            net.relu(net.conv(squeezed, _wide(expand, divisor), 1, name=f"{name}/expand1x1")),
            net.relu(net.conv(squeezed, _wide(expand, divisor), 3, pad=1, name=f"{name}/expand3x3")),
        ]
        return net.concat(*parts, name=f"{name}/concat")

    x = net.relu(net.conv(net.input(1, 3, 227, 227), _wide(96, divisor), 7, stride=2, name="conv1"))
    x = net.pool(x, kernel=3)
    x = fire(fire(fire(x, 2, 16, 64), 3, 16, 64), 4, 32, 128)
    x = net.pool(x, kernel=3)
    x = fire(fire(fire(fire(x, 5, 32, 128), 6, 48, 192), 7, 48, 192), 8, 64, 256)
    x = fire(net.pool(x, kernel=3), 9, 64, 256)
    net.add("Dropout", x, {"dropout_ratio": 0.5}, tops=x)
    x = net.relu(net.conv(x, 1000 // divisor, 1, pad=1, name="conv10"))
    net.add("Softmax", net.global_pool(x, name="pool10"), name="prob")
    return net


def resnet18(divisor: int = 1) -> Net:
    """Batch normalization and scale in place, shortcuts, ceil pooling after a padded convolution."""
    net = Net("resnet18")

    def conv(bottom: str, channels: int, kernel: int, stride: int, name: str) -> str:
        x = net.conv(bottom, channels, kernel, stride=stride, pad=kernel // 2, bias=False, name=name)
        return net.batch_norm(x, variance=4.0)

    x = net.relu(conv(net.input(1, 3, 224, 224), _wide(64, divisor), 7, 2, "conv1"))
    x = net.pool(x, kernel=3)
    for stage, width in enumerate((64, 128, 256, 512), 2):
        channels = _wide(width, divisor)
        for block in "ab":
            name, stride = f"res{stage}{block}", 2 if stage > 2 and block == "a" else 1
            shortcut = conv(x, channels, 1, stride, f"{name}_branch1") if block == "a" else x
            y = net.relu(conv(x, channels, 3, stride, f"{name}_branch2a"))
            y = conv(y, channels, 3, 1, f"{name}_branch2b")
            x = net.relu(net.add("Eltwise", (shortcut, y), name=name))
    x = net.fc(net.pool(x, "AVE", 7, 1, name="pool5"), 1000 // divisor, name="fc1000")
    net.add("Softmax", x, name="prob")
    return net


def mobilenet_ssd(divisor: int = 1, classes: int = 21) -> Net:
    """Depthwise convolutions and six maps of priors, for 300x300."""
    net = Net("mobilenet-ssd")

    def conv(bottom: str, channels: int, kernel: int, name: str, **how: Any) -> str:
        x = net.conv(bottom, channels, kernel, bias=False, name=name, **how)
        return net.relu(net.batch_norm(x))

    def separable(bottom: str, width: int, stride: int, number: int) -> str:
        group = net.shapes[bottom][1]
        how = {"stride": stride, "pad": 1, "group": group}
        x = conv(bottom, group, 3, f"conv{number}/dw", **how)
        return conv(x, _wide(width, divisor), 1, f"conv{number}")

    x = conv(net.input(1, 3, 300, 300), _wide(32, divisor), 3, "conv0", stride=2, pad=1)
    widths = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5)
    for number, (width, stride) in enumerate(widths, 1):
        x = separable(x, width, stride, number)
    maps = [x]
    x = separable(separable(x, 1024, 2, 12), 1024, 1, 13)
    maps.append(x)
    for number, (narrow, width) in enumerate(((256, 512), (128, 256), (128, 256), (64, 128)), 14):
        x = conv(x, _wide(narrow, divisor), 1, f"conv{number}_1")
        x = conv(x, _wide(width, divisor), 3, f"conv{number}_2", stride=2, pad=1)
        maps.append(x)
    sizes = (60.0, 105.0, 150.0, 195.0, 240.0, 285.0, None)
    priors = [
        {
            "min_size": size,
            **({"max_size": sizes[number + 1]} if number else {}),
            "aspect_ratio": [2.0] if number == 0 else [2.0, 3.0],
            "flip": True,
            "clip": False,
            "variance": [0.1, 0.1, 0.2, 0.2],
        }
        for number, size in enumerate(sizes[:-1])
    ]
    priors[-1]["max_size"] = 300.0
    return _with_ssd_head(net, maps, priors, classes, kernel=1)


def vgg_ssd(divisor: int = 1, classes: int = 21) -> Net:
    """VGG-16 without its classifier, a dilated fc6, a normalized conv4_3, for 300x300."""
    net = Net("vgg-ssd")
    maps = []
    x = _vgg(net, net.input(1, 3, 300, 300), divisor, maps, last_pool=(3, 1, 1))
    scale = net.vector(net.shapes[maps[0]][1], 18, 22)
    params = {"across_spatial": False, "channel_shared": False}
    maps[0] = net.add("Normalize", maps[0], params, blobs=[scale], name="conv4_3_norm")
    del maps[1:]
    x = net.relu(net.conv(x, _wide(1024, divisor), 3, pad=6, dilation=6, name="fc6"))
    # The size rule of `Net.conv` counts the dilation.
    x = net.relu(net.conv(x, _wide(1024, divisor), 1, name="fc7"))
    maps.append(x)
    for number, (narrow, width, stride, pad) in enumerate(
        ((256, 512, 2, 1), (128, 256, 2, 1), (128, 256, 1, 0), (128, 256, 1, 0)), 6
    ):
        x = net.relu(net.conv(x, _wide(narrow, divisor), 1, name=f"conv{number}_1"))
        x = net.relu(net.conv(x, _wide(width, divisor), 3, stride=stride, pad=pad, name=f"conv{number}_2"))
        maps.append(x)
    bounds = ((30, 60), (60, 111), (111, 162), (162, 213), (213, 264), (264, 315))
    steps = (8, 16, 32, 64, 100, 300)
    priors = [
        {
            "min_size": float(low),
            "max_size": float(high),
            "aspect_ratio": [2.0] if number in (0, 4, 5) else [2.0, 3.0],
            "flip": True,
            "clip": False,
            "variance": [0.1, 0.1, 0.2, 0.2],
            "step": float(steps[number]),
            "offset": 0.5,
        }
        for number, (low, high) in enumerate(bounds)
    ]
    return _with_ssd_head(net, maps, priors, classes, kernel=3)


def fcn(divisor: int = 1) -> Net:
    """FCN-8s of VGG-16: upsampling by bilinear kernels, skips that are cropped to fit."""
    net = Net("fcn")
    classes, pools = 21, []
    x = net.relu(net.conv(net.input(1, 3, 200, 168), _wide(64, divisor), 3, pad=100, name="conv1_1"))
    x = _vgg(net, x, divisor, [], first=False, pools=pools)
    x = net.relu(net.conv(x, _wide(4096, divisor), 7, name="fc6"))
    x = net.relu(net.conv(x, _wide(4096, divisor), 1, name="fc7"))
    x = net.conv(x, classes, 1, name="score_fr")
    for number, (pool, scale) in enumerate(((pools[3], 0.01), (pools[2], 0.0001))):
        x = _bilinear(net, x, classes, 4, 2, f"upscore{number}")
        scaled = net.add(
            "Scale", pool, {}, blobs=[np.full(net.shapes[pool][1], scale)], name=f"scaled{number}"
        )
        score = net.conv(scaled, classes, 1, name=f"score{number}")
        params = {"axis": 2, "offset": [5 + 4 * number]}
        cropped = net.add("Crop", (score, x), params, name=f"crop{number}", shape=net.shapes[x])
        x = net.add("Eltwise", (x, cropped), {"operation": "SUM"}, name=f"fuse{number}")
    x = _bilinear(net, x, classes, 16, 8, "upscore8")
    net.add("Crop", (x, "data"), {"axis": 2, "offset": [31]}, name="score")
    return net


def segnet(divisor: int = 1) -> Net:
    """Encoder and decoder of VGG-16: each pooling's mask says where its decoder's values go."""
    net = Net("segnet")

    def conv(bottom: str, channels: int, name: str) -> str:
        x = net.conv(bottom, channels, 3, pad=1, name=name)
        n = net.shapes[x][1]
        params = {"bn_mode": "INFERENCE"}
        blobs = [net.vector(n, 0.5, 1.5), net.vector(n)]
        return net.relu(net.add("BN", x, params, blobs=blobs, tops=x, name=f"{name}_bn"))

    widths = [(64, 2), (128, 2), (256, 3), (512, 3), (512, 3)]
    x, stack = net.input(1, 3, 90, 120), []
    for stage, (width, count) in enumerate(widths, 1):
        for number in range(1, count + 1):
            x = conv(x, _wide(width, divisor), f"conv{stage}_{number}")
        size = net.shapes[x][2:]
        mask = f"pool{stage}_mask"
        x = net.pool(x, name=f"pool{stage}", tops=(f"pool{stage}", mask))
        stack.append((stage, mask, size, count, _wide(widths[max(0, stage - 2)][0], divisor)))
    for stage, mask, size, count, below in reversed(stack):
        shape = (*net.shapes[x][:2], *size)
        params = {"upsample_h": size[0], "upsample_w": size[1]}
        x = net.add("Upsample", (x, mask), params, name=f"upsample{stage}", shape=shape)
        for number in range(count, 0, -1):
            last = number == 1
            width = below if last else net.shapes[x][1]
            if last and stage == 1:
                x = net.conv(x, 11, 3, pad=1, name="conv1_1_D")
            else:
                x = conv(x, width, f"conv{stage}_{number}_D")
    net.add("Softmax", x, name="prob")
    return net


def zf_faster_rcnn(divisor: int = 1, size: tuple[int, int] = (224, 288)) -> Net:
    """The smaller network of py-faster-rcnn: LRN within channels, padded pooling."""
    net = Net("zf-faster-rcnn")
    x = net.input(1, 3, *size)
    norm = {"local_size": 3, "alpha": 0.00005, "beta": 0.75, "norm_region": "WITHIN_CHANNEL"}
    for number, (width, kernel) in enumerate(((96, 7), (256, 5)), 1):
        x = net.conv(x, _wide(width, divisor), kernel, pad=kernel // 2, stride=2, name=f"conv{number}")
        x = net.pool(net.add("LRN", net.relu(x), norm), kernel=3, pad=1)
    for number, width in enumerate((384, 384, 256), 3):
        x = net.relu(net.conv(x, _wide(width, divisor), 3, pad=1, name=f"conv{number}"))
    return _with_region_head(net, x, divisor, width=256, bins=6)


def vgg_faster_rcnn(divisor: int = 1, size: tuple[int, int] = (224, 288)) -> Net:
    """VGG-16 without its last pooling, proposals at stride 16."""
    net = Net("vgg16-faster-rcnn")
    x = _vgg(net, net.input(1, 3, *size), divisor, [], last_pool=(0, 0, 0))
    return _with_region_head(net, x, divisor, width=512, bins=7)


def _with_region_head(net: Net, x: str, divisor: int, *, width: int, bins: int, classes: int = 21) -> Net:
    """Proposals at every cell of x, their pooling, and the network that looks at each."""
    height, width = net.inputs["data"][2:]
    net.input(1, 3, name="im_info")
    net.given["im_info"] = np.array([[height, width, 1]], np.float32)
    rpn = net.relu(net.conv(x, _wide(width, divisor), 3, pad=1, name="rpn/output"))
    score = net.conv(rpn, 18, 1, name="rpn_cls_score")
    deltas = net.conv(rpn, 36, 1, name="rpn_bbox_pred")
    pairs = {"shape": {"dim": [0, 2, -1, 0]}}
    score = net.add("Reshape", score, pairs, name="rpn_cls_score_reshape")
    score = net.add("Softmax", score, name="rpn_cls_prob")
    anchors = {"shape": {"dim": [0, 18, -1, 0]}}
    score = net.add("Reshape", score, anchors, name="rpn_cls_prob_reshape")
    params = {
        "ratio": [0.5, 1.0, 2.0],
        "scale": [8.0, 16.0, 32.0],
        "pre_nms_topn": 6000,
        "post_nms_topn": 60,
        "nms_thresh": 0.7,
    }
    net.add("Proposal", (score, deltas, "im_info"), params, tops="rois", name="proposal")
    pooling = {"pooled_h": bins, "pooled_w": bins, "spatial_scale": 0.0625}
    channels = net.shapes[x][1]
    shape = (60, channels, bins, bins)
    x = net.add("ROIPooling", (x, "rois"), pooling, name="roi_pool", shape=shape)
    for name in ("fc6", "fc7"):
        x = net.relu(net.fc(x, _wide(4096, divisor), name=name))
        net.add("Dropout", x, {"dropout_ratio": 0.5, "scale_train": False}, tops=x)
    net.fc(x, 4 * classes, name="bbox_pred")
    net.add("Softmax", net.fc(x, classes, name="cls_score"), name="cls_prob")
    return net


def _vgg(
    net: Net,
    x: str,
    divisor: int,
    maps: list[str],
    *,
    first: bool = True,
    last_pool: tuple[int, int, int] = (2, 2, 0),
    pools: list[str] | None = None,
) -> str:
    """VGG-16's convolutions. first: whether conv1_1 is among them. maps: takes conv4_3."""
    for stage, (width, count) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)), 1):
        for number in range(1 if first or stage > 1 else 2, count + 1):
            x = net.relu(net.conv(x, _wide(width, divisor), 3, pad=1, name=f"conv{stage}_{number}"))
        if stage == 4:
            maps.append(x)
        kernel, stride, pad = last_pool if stage == 5 else (2, 2, 0)
        if kernel:
            x = net.pool(x, "MAX", kernel, stride, pad, name=f"pool{stage}")
        if pools is not None:
            pools.append(x)
    return x


def _bilinear(net: Net, bottom: str, channels: int, kernel: int, stride: int, name: str) -> str:
    """A deconvolution that interpolates, a kernel a channel."""
    params = {"num_output": channels, "kernel_size": kernel, "stride": stride, "bias_term": False}
    params["group"] = channels
    factor = math.ceil(kernel / 2)
    center = (2 * factor - 1 - factor % 2) / (2 * factor)
    line = 1 - np.abs(np.arange(kernel) / factor - center)
    weights = np.tile(np.outer(line, line), (channels, 1, 1, 1))
    n, _, *size = net.shapes[bottom]
    shape = (n, channels, *((one - 1) * stride + kernel for one in size))
    return net.add("Deconvolution", bottom, params, blobs=[weights], name=name, shape=shape)


def _with_ssd_head(
    net: Net, maps: list[str], priors: list[dict[str, Any]], classes: int, kernel: Pair
) -> Net:
    """Offsets and scores of every map, the priors, and the layer that reads them all."""
    parts: dict[str, list[str]] = {"loc": [], "conf": [], "priorbox": []}
    for feature, prior in zip(maps, priors, strict=True):
        ratios = len(prior["aspect_ratio"])
        each = 1 + ("max_size" in prior) + 2 * ratios
        for what, values in (("loc", 4), ("conf", classes)):
            name = f"{feature}_mbox_{what}"
            x = net.conv(feature, each * values, kernel, pad=1 if kernel == 3 else 0, name=name)
            n, channels, height, width = net.shapes[x]
            order = {"order": [0, 2, 3, 1]}
            x = net.add("Permute", x, order, name=f"{name}_perm", shape=(n, height, width, channels))
            count = height * width * channels
            x = net.add("Flatten", x, {"axis": 1}, name=f"{name}_flat", shape=(n, count))
            parts[what].append(x)
        parts["priorbox"].append(
            net.add("PriorBox", (feature, "data"), prior, name=f"{feature}_mbox_priorbox")
        )
    counts = {what: sum(net.shapes[name][1] for name in parts[what]) for what in ("loc", "conf")}
    loc = net.add("Concat", parts["loc"], {"axis": 1}, name="mbox_loc", shape=(1, counts["loc"]))
    conf = net.add("Concat", parts["conf"], {"axis": 1}, name="mbox_conf", shape=(1, counts["conf"]))
    boxes = net.add("Concat", parts["priorbox"], {"axis": 2}, name="mbox_priorbox")
    shape = {"shape": {"dim": [0, -1, classes]}}
    conf = net.add("Reshape", conf, shape, name="mbox_conf_reshape", shape=(1, -1, classes))
    conf = net.add("Softmax", conf, {"axis": 2}, name="mbox_conf_softmax")
    conf = net.add("Flatten", conf, {"axis": 1}, name="mbox_conf_flatten")
    params = {
        "num_classes": classes,
        "share_location": True,
        "background_label_id": 0,
        "nms_param": {"nms_threshold": 0.45, "top_k": 100},
        "code_type": "CENTER_SIZE",
        "keep_top_k": 100,
        "confidence_threshold": 0.25,
    }
    net.add("DetectionOutput", (loc, conf, boxes), params, name="detection_out")
    return net
