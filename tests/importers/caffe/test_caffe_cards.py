"""The draft card: what the network is for, how it is fed, and which head reads it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv import card as cards
from edgecv import rois
from edgecv.card import Thresholds
from edgecv.convert import convert
from edgecv.errors import InputError, ModelFileError, ModelNotFoundError, NoPictureError
from edgecv.heads import anchors, classify, two_stages
from edgecv.heads.brands import detectnet
from edgecv.importers import NETWORK, caffe
from edgecv.importers.caffe import schema
from tests.importers.caffe import topologies
from tests.importers.caffe.nets import Net
from tests.importers.caffe.test_caffe_files import CONV, INPUT, one_conv, read, small


def classifier(channels: int = 3) -> Net:
    net = Net("classifier")
    x = net.global_pool(net.relu(net.conv(net.input(1, channels, 20, 16), 5, 3)))
    net.add("Softmax", net.fc(x, 4, name="fc"), name="prob")
    return net


def write_mean(path: Path, image: np.ndarray) -> Path:
    message = schema.weights_types(True)[1](data=image.astype("<f4").tobytes())
    message.num, message.channels, message.height, message.width = (1, *image.shape)
    path.write_bytes(message.SerializeToString())
    return path


def test_a_classifier(tmp_path: Path) -> None:
    imported = caffe.read(*classifier().write(tmp_path, "My Net"), mean=(104.0, 117.0, 123.0))
    card = imported.card
    assert (card.name, card.task, card.format) == ("my-net", "classify", "caffe")
    assert card.head is not None
    assert card.head.params == classify.Params(output="prob", is_probability=True)
    assert (card.image_input.color, card.image_input.resize) == ("bgr", "stretch")
    assert (card.image_input.mean, card.image_input.std) == ((104.0, 117.0, 123.0), ())
    assert imported.assumptions == (
        "input: its files do not say how a picture is fed: bgr, not scaled, stretched to 16x20",
    )
    assert cards.parse(cards.dumps(card), origin="test") == card


def test_scores_without_a_softmax_are_no_probabilities(tmp_path: Path) -> None:
    net = classifier()
    net.layers.pop()
    card = caffe.read(*net.write(tmp_path)).card
    assert card.head is not None
    assert card.head.params == classify.Params(output="fc", is_probability=False)


@pytest.mark.parametrize("move", ["Flatten", "Split", "Dropout", "Reshape"])
def test_probabilities_stay_such_when_they_are_moved(move: str, tmp_path: Path) -> None:
    net = classifier()
    params = {"shape": {"dim": [0, 4, 1, 1]}} if move == "Reshape" else {}
    net.add(move, "prob", params, name="moved")
    card = caffe.read(*net.write(tmp_path)).card
    assert card.head is not None
    assert card.head.params == classify.Params(output="moved", is_probability=True)


@pytest.mark.parametrize(
    ("build", "task"),
    [
        pytest.param(lambda: topologies.fcn(8), "segment", id="fcn"),
        pytest.param(lambda: topologies.segnet(8), "segment", id="segnet"),
        pytest.param(one_conv, "features", id="features"),
    ],
)
def test_tasks_without_a_head(build: Any, task: str, tmp_path: Path) -> None:
    imported = caffe.read(*build().write(tmp_path))
    assert (imported.card.task, imported.card.head) == (task, None)
    assert any("head: its files do not say" in line for line in imported.assumptions) == (task == "features")


def test_gray_and_four_channels(tmp_path: Path) -> None:
    for channels, color in ((1, "gray"), (4, "bgrd")):
        entry = caffe.read(*classifier(channels).write(tmp_path), mean=(7.0,)).card.image_input
        assert (entry.channels, entry.color, entry.mean) == (channels, color, (7.0,) * channels)


def test_a_network_that_no_picture_feeds_is_refused(tmp_path: Path) -> None:
    net = Net("flow")
    net.conv(net.input(1, 6, 8, 8), 4, 3)
    with pytest.raises(NoPictureError, match=r"inputs data \(1, 6, 8, 8\): expected one that a picture"):
        caffe.read(*net.write(tmp_path))


FED = ("input: its files do not say how a picture is fed: bgr, not scaled, stretched to 16x20",)
NO_MEAN = ("mean: none is in its files, so none is subtracted; give one with --mean",)
SCORES = (
    "task: fc is a row of 4 numbers that no softmax makes: taken as scores of 4 classes, of which a "
    "softmax is made",
)
MEAN = (
    "layer { name: 'd' type: 'Data' top: 'data' include { phase: TRAIN } transform_param { mean_value: 7 } }"
)
SCALE = MEAN.replace("mean_value: 7", "scale: 0.5")
TWO_SCALES = SCALE + SCALE.replace("'d'", "'e'").replace("0.5", "0.25")

ASSUMED: dict[str, tuple[str, bool, tuple[str, ...]]] = {
    "nothing said": ("", True, (*FED, *NO_MEAN)),
    "a mean": (MEAN, True, ()),
    "a scale": (SCALE, True, NO_MEAN),
    "two scales": (TWO_SCALES, True, ("scale: 2 different ones in transform_param: none is taken", *NO_MEAN)),
    "no softmax": (MEAN, False, SCORES),
    "no softmax, nothing said": ("", False, (*SCORES, *FED, *NO_MEAN)),
}


@pytest.mark.parametrize(("data", "has_softmax", "assumed"), ASSUMED.values(), ids=ASSUMED)
def test_everything_that_is_assumed_is_listed(
    data: str, has_softmax: bool, assumed: tuple[str, ...], tmp_path: Path
) -> None:
    net = classifier()
    if not has_softmax:
        net.layers.pop()
    structure, weights = net.write(tmp_path)
    structure.write_text(f"{data}\n{structure.read_text()}")
    imported = caffe.read(structure, weights)
    assert imported.card.task == "classify"
    assert imported.assumptions == assumed
    # Whoever converts or loads is told the same.
    labels = "labels: none, no file beside it has 4 names; give a file with --labels"
    done = convert(structure, tmp_path / "out.onnx")
    assert done.as_dict()["assumptions"] == [*assumed, labels]


def test_transform_param_says_how_a_network_is_fed(tmp_path: Path) -> None:
    data = (
        'layer { name: "d" type: "Data" top: "data" top: "label" include { phase: TRAIN } transform_param { '
        "scale: 0.00390625 crop_size: 8 mean_value: 104 mean_value: 117 mean_value: 123 } }"
    )
    imported = read(tmp_path, f"{data}\n{INPUT}\n{CONV}", one_conv())
    entry = imported.card.image_input
    assert (entry.mean, entry.std) == ((104.0, 117.0, 123.0), (256.0, 256.0, 256.0))
    assert any("transform_param" in remark for remark in imported.remarks)


def test_the_mean_file_that_transform_param_names(tmp_path: Path) -> None:
    data = (
        'layer { name: "d" type: "Data" top: "data" include { phase: TRAIN } '
        'transform_param { mean_file: "/data/../ilsvrc12/the_mean.binaryproto" } }'
    )
    text = f"{data}\n{INPUT}\n{CONV}"
    imported = read(tmp_path, text, one_conv())
    assert imported.card.image_input.mean == ()
    assert any("the_mean.binaryproto, which is not beside it" in line for line in imported.assumptions)
    image = np.arange(3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    write_mean(tmp_path / "the_mean.binaryproto", image)
    imported = read(tmp_path, text, one_conv())
    assert imported.card.image_input.mean == (9.5, 29.5, 49.5)
    assert any("one number a channel" in line for line in imported.assumptions)


def test_means_of_every_kind(tmp_path: Path) -> None:
    paths = small().write(tmp_path)
    image = np.random.default_rng(0).uniform(0, 255, (3, 6, 7)).astype(np.float32)
    expected = pytest.approx(tuple(image.mean((1, 2)).tolist()), rel=1e-5)
    np.save(tmp_path / "mean.npy", image)
    np.save(tmp_path / "batch.npy", image[None])
    np.save(tmp_path / "row.npy", image.mean((1, 2)))
    for mean in (
        write_mean(tmp_path / "mean.binaryproto", image),
        *(tmp_path / name for name in ("mean.npy", "batch.npy", "row.npy")),
    ):
        assert caffe.read(*paths, mean=mean).card.image_input.mean == expected


def test_labels(tmp_path: Path) -> None:
    paths = classifier().write(tmp_path)
    names = tmp_path / "names.txt"
    names.write_text("nut\nbolt\nwasher\nscrew\n")
    assert caffe.read(*paths, labels=names).card.labels == ("nut", "bolt", "washer", "screw")
    names.write_text("".join(f"n0144076{n} fish, {name}\n" for n, name in enumerate("abcd")))
    assert caffe.read(*paths, labels=names).card.labels == ("fish, a", "fish, b", "fish, c", "fish, d")
    names.write_text("nut\nbolt\n")
    with pytest.raises(InputError, match="expected 4 names"):
        caffe.read(*paths, labels=names)


def job(folder: Path, net: Net, *snapshots: int) -> Path:
    for number in snapshots:
        net.write(folder, f"snapshot_iter_{number}")
    (folder / "deploy.prototxt").write_text(net.prototxt())
    return folder


def test_a_digits_job(tmp_path: Path) -> None:
    last = classifier()
    folder = job(tmp_path, last, 30, 1000, 200)
    write_mean(folder / "mean.binaryproto", np.full((3, 9, 9), 12.5, np.float32))
    (folder / "labels.txt").write_text("a\nb\nc\nd\n")
    info = {"name": "Parts 7", "image resize mode": "half_crop", "framework": "caffe"}
    (folder / "info.json").write_text(json.dumps(info))
    imported = caffe.read_digits(folder)
    card = imported.card
    assert (card.name, card.task, card.labels) == ("parts-7", "classify", ("a", "b", "c", "d"))
    assert (card.image_input.mean, card.image_input.resize) == ((12.5,) * 3, "crop")
    assert any("snapshot_iter_1000.caffemodel" in line for line in imported.assumptions)
    assert any("half_crop" in line for line in imported.assumptions)


def test_a_digits_job_with_nothing_but_the_network(tmp_path: Path) -> None:
    folder = tmp_path / "20160809-112414-0296"
    folder.mkdir()
    card = caffe.read_digits(job(folder, classifier(), 5)).card
    assert (card.name, card.labels, card.image_input.mean) == ("20160809-112414-0296", (), ())
    assert card.image_input.resize == "stretch"


@pytest.mark.parametrize(
    ("files", "error", "message"),
    [
        pytest.param({}, ModelNotFoundError, r"no deploy\.prototxt", id="nothing"),
        pytest.param(
            {"deploy.prototxt": ""}, ModelNotFoundError, "no snapshot_iter_<number>", id="no-snapshot"
        ),
        pytest.param(
            {"deploy.prototxt": "", "info.json": "{"}, ModelFileError, r"info\.json: not the JSON", id="info"
        ),
        pytest.param(
            {"deploy.prototxt": "", "info.json": "[" * 9999}, ModelFileError, r"info\.json: not", id="deep"
        ),
    ],
)
def test_folders_that_are_no_job(files: dict[str, str], error: type, message: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(error, match=message):
        caffe.read_digits(tmp_path)


def test_an_ssd(tmp_path: Path) -> None:
    net = topologies.mobilenet_ssd(8)
    imported = caffe.read(*net.write(tmp_path))
    card = imported.card
    assert card.task == "detect"
    assert card.head is not None
    params = card.head.params
    assert isinstance(params, anchors.Params)
    assert (params.boxes, params.scores, params.background, params.classes) == (
        "mbox_loc",
        "mbox_conf_flatten",
        "first",
        20,
    )
    assert (params.code, params.shared, params.priors[0].clip) == ("center-size", True, None)
    assert params.variances == pytest.approx((0.1, 0.2))
    assert card.thresholds == Thresholds(conf=0.25, iou=0.45, max_det=100)
    first, *_, last = params.priors
    assert (first.cells_wh, first.min_sizes, first.max_sizes, first.flip) == ((19, 19), (60.0,), (), True)
    assert first.stride_xy((300, 300)) == pytest.approx((300 / 19, 300 / 19))
    assert (last.cells_wh, last.min_sizes, last.max_sizes) == ((1, 1), (285.0,), (300.0,))
    assert len(last.shapes) == 6
    outputs = {spec.name: spec.shape for spec in imported.networks[NETWORK].facts.outputs}
    assert outputs == {"mbox_loc": (1, 1917 * 4), "mbox_conf_flatten": (1, 1917 * 21)}
    assert cards.parse(cards.dumps(card), origin="test") == card
    # How SSDs are fed differs, and nothing is guessed.
    assert (card.image_input.mean, card.image_input.std) == ((), ())


SSD_PARAMS = {
    "background": ({"background_label_id": 3}, "background_label_id 3: expected 0, or -1"),
    "pixels": ({"normalized_bbox": False}, "expected boxes as parts of the picture"),
    "classes": ({"num_classes": 20}, "expected 20 values of each"),
    "threshold": ({"confidence_threshold": 1.5}, "confidence_threshold 1.5: expected 0 to 1"),
}


@pytest.mark.parametrize(("params", "message"), SSD_PARAMS.values(), ids=SSD_PARAMS)
def test_ssds_that_no_head_reads(params: dict[str, Any], message: str, tmp_path: Path) -> None:
    net = topologies.mobilenet_ssd(8)
    output = net.layers[-1]
    output.params.update(params)  # type: ignore[attr-defined]
    with pytest.raises(ModelFileError, match=rf"layer 'detection_out' \(DetectionOutput\): .*{message}"):
        caffe.read(*net.write(tmp_path))


def test_an_ssd_without_background_and_with_boxes_of_each_class(tmp_path: Path) -> None:
    net = Net("tiny-ssd")
    x = net.conv(net.input(1, 3, 8, 8), 4, 3, name="map")
    prior = {"min_size": 3.0, "variance": [0.1, 0.2, 0.3, 0.4], "clip": True}
    net.add("PriorBox", (x, "data"), prior, name="priors")
    loc = net.add("Flatten", net.conv(x, 8, 1, name="loc"), name="loc_flat")
    conf = net.add("Flatten", net.conv(x, 2, 1, name="conf"), name="conf_flat")
    params = {
        "num_classes": 2,
        "share_location": False,
        "background_label_id": -1,
        "code_type": "CORNER_SIZE",
    }
    net.add("DetectionOutput", (loc, conf, "priors"), params, name="out")
    card = caffe.read(*net.write(tmp_path)).card
    assert card.head is not None
    found = card.head.params
    assert isinstance(found, anchors.Params)
    assert (found.background, found.shared, found.classes, found.code) == (None, False, 2, "corner-size")
    assert found.variances == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert found.priors[0].clip == "edges"


def test_detectnet(tmp_path: Path) -> None:
    net = Net("detectnet")
    x = net.conv(net.input(1, 3, 32, 48), 6, 16, stride=16, name="features")
    cover = net.add("Sigmoid", net.conv(x, 2, 1, name="cvg"), name="coverage")
    boxes = net.conv(x, 4, 1, name="bboxes")
    params = {
        "module": "caffe.layers.detectnet.clustering",
        "layer": "ClusterDetections",
        "param_str": "48, 32, 16, 0.6, 2, 0.02, 22, 2",
    }
    net.add("Python", (cover, boxes), params, name="cluster", tops=("list-0", "list-1"))
    imported = caffe.read(*net.write(tmp_path))
    card = imported.card
    assert card.head is not None
    fields = detectnet.Params(coverage="coverage", boxes="bboxes", stride=16, classes=2, min_height=22.0)
    assert card.head.params == detectnet.reading(fields).params
    assert card.thresholds.conf == 0.6
    assert [spec.name for spec in imported.networks[NETWORK].facts.outputs] == ["coverage", "bboxes"]
    assert any("groupRectangles" in line for line in imported.assumptions)


def python_proposal(text: str, divisor: int = 8) -> Net:
    net = topologies.zf_faster_rcnn(divisor)
    number = next(n for n, layer in enumerate(net.layers) if layer.type == "Proposal")
    bottoms = net.layers[number].bottoms
    params = {"module": "rpn.proposal_layer", "layer": "ProposalLayer", "param_str": text}
    net.add("Python", bottoms, params, tops="rois", name="proposal")
    net.layers[number] = net.layers.pop()
    return net


@pytest.mark.parametrize(
    ("text", "scales"),
    [
        pytest.param("'feat_stride': 16", (8, 16, 32), id="stride"),
        pytest.param("{'feat_stride': 16, 'scales': [4, 8, 64]}", (4, 8, 64), id="scales"),
        pytest.param("feat_stride: 16", (8, 16, 32), id="bare"),
    ],
)
def test_a_faster_rcnn_of_python_layers(text: str, scales: tuple[int, ...], tmp_path: Path) -> None:
    net = python_proposal(text)
    imported = caffe.read(*net.write(tmp_path))
    card = imported.card
    assert list(imported.networks) == ["trunk", "roi"]
    assert (card.task, card.thresholds.iou) == ("detect", 0.3)
    assert card.head is not None
    params = card.head.params
    assert isinstance(params, two_stages.Params)
    assert np.array_equal(params.anchors, rois.anchors(16, (0.5, 1.0, 2.0), scales))
    assert (params.features, params.rpn_scores, params.rpn_deltas) == (
        "conv5",
        "rpn_cls_prob_reshape",
        "rpn_bbox_pred",
    )
    assert (params.stride, params.pre_nms, params.post_nms, params.nms_iou) == (16, 6000, 300, 0.7)
    assert (params.pooled_wh, params.spatial_scale) == ((6, 6), 0.0625)
    assert (params.scores, params.deltas, params.class_agnostic) == ("cls_prob", "bbox_pred", False)
    trunk, roi = imported.networks.values()
    assert {spec.name: spec.shape for spec in trunk.facts.outputs} == {
        "conv5": (1, 32, 15, 19),
        "rpn_cls_prob_reshape": (1, 18, 15, 19),
        "rpn_bbox_pred": (1, 36, 15, 19),
    }
    assert [spec.name for spec in trunk.facts.inputs] == ["data"]
    assert list(imported.networks) == list(card.stages) == ["trunk", "roi"]
    assert card.stages["trunk"].inputs == (card.image_input,)
    assert card.stages["roi"].head == card.head
    assert [(spec.name, spec.shape) for spec in roi.facts.inputs] == [("roi_pool", (300, 32, 6, 6))]
    assert {spec.name: spec.shape for spec in roi.facts.outputs} == {
        "cls_prob": (300, 21),
        "bbox_pred": (300, 84),
    }
    assert card.image_input.mean == (102.9801, 115.9465, 122.7717)


def test_a_faster_rcnn_that_ends_in_a_detection_output(tmp_path: Path) -> None:
    net = topologies.zf_faster_rcnn(8)
    params = {
        "num_classes": 21,
        "share_location": False,
        "nms_param": {"nms_threshold": 0.4},
        "confidence_threshold": 0.8,
        "keep_top_k": 50,
        "code_type": "CENTER_SIZE",
    }
    net.add("DetectionOutput", ("bbox_pred", "cls_prob", "rois", "im_info"), params, name="detection_out")
    card = caffe.read(*net.write(tmp_path)).card
    assert card.thresholds == Thresholds(conf=0.8, iou=0.4, max_det=50)
    assert card.head is not None
    assert isinstance(card.head.params, two_stages.Params)
    assert card.head.params.post_nms == 60


def test_what_follows_the_pooling_takes_nothing_from_before(tmp_path: Path) -> None:
    net = topologies.zf_faster_rcnn(8)
    net.add("Eltwise", ("cls_prob", "conv5"), name="mixed")
    with pytest.raises(
        ModelFileError, match=r"layer 'mixed' \(Eltwise\): takes values from before and after"
    ):
        caffe.read(*net.write(tmp_path))
