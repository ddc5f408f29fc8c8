"""What is read from a cfg, and one line that names file, line and layer for what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgecv.errors import InputError, ModelFileError, ModelNotFoundError
from edgecv.heads import classify, grid, vector
from edgecv.importers.darknet import cfg as cfg_file
from edgecv.importers.darknet.cfg import parse
from tests.importers.darknet import reference
from tests.importers.darknet.structures import (
    conv,
    maxpool,
    net,
    raw,
    route,
    section,
    shortcut,
    tiny_yolo_v1,
    tiny_yolo_v2,
    tiny_yolo_v4,
)
from tests.importers.darknet.structures import yolo as yolo_layer
from tests.importers.darknet.test_darknet_layers import imported

NET = "[net]\nwidth=16\nheight=16\nchannels=3\n"


def read(folder: Path, text: str) -> Any:
    """The network of a cfg, with as many random weights as it takes."""
    return imported(folder, text, reference.random_weights(text))


def test_blanks_comments_and_both_line_ends() -> None:
    text = "\ufeff# a comment\r\n[ net ]\r\n width = 1 6 # sixteen\r\n\r\n;x\n[conv]\nfilters\t=\t4\n"
    sections = parse(text.lstrip("\ufeff"), origin="net.cfg")
    assert [(s.kind, s.line) for s in sections] == [("net", 2), ("convolutional", 6)]
    assert sections[0].integer("width", None, 1, 100) == 16
    assert sections[1].integer("filters", None, 1, 100) == 4
    assert sections[1].name == "convolutional_0"


def test_an_option_may_be_repeated_but_not_contradicted() -> None:
    (_, layer) = parse("[net]\n[conv]\nsize=3\nsize=3\nstride=1\nstride=2\n", origin="net.cfg")
    assert layer.integer("size", None, 1, 9) == 3
    with pytest.raises(
        ModelFileError,
        match=r"line 5: layer 0 \[convolutional\]: `stride`: stated twice, '1' here and '2' in line 6",
    ):
        layer.integer("stride", None, 1, 9)


TEXT: dict[str, tuple[str, str]] = {
    "empty": ("", r"not a Darknet cfg: expected \[net\] first, it has no sections"),
    "prose": ("Once upon a time\n", r"line 1: expected \[net\] first, got 'Onceuponatime'"),
    "xml": ("<net width='3'>\n", r"line 1: expected \[net\] first, got"),
    "binary": ("[net]\0\1\2", r"not a Darknet cfg: it is not text"),
    "net-missing": ("[conv]\nfilters=3\n", r"expected \[net\] first, line 1: got \[convolutional\]"),
    "no-layers": (NET, r"the network has no layers"),
    "no-equals": (NET + "[conv]\nfilters\n", r"line 6: layer 0 \[convolutional\]: expected `key = value`"),
    "no-value": (NET + "[conv]\nfilters =\n", r"line 6: .*expected `key = value`, got 'filters='"),
    "no-key": (NET + "[conv]\n=3\n", r"line 6: .*expected `key = value`, got '=3'"),
    "open-bracket": (NET + "[conv\n", r"line 5: expected a \[section\], got '\[conv'"),
    "odd-section": (NET + "[con v!]\n", r"line 5: expected a \[section\]"),
    "unknown-section": (
        NET + "[attention]\n",
        r"line 5: layer 0 \[attention\]: unknown or unsupported layer",
    ),
    "second-net": (NET + NET, r"layer 0 \[net\]: unknown or unsupported layer"),
    "gaussian": (NET + "[Gaussian_yolo]\n", r"\[Gaussian_yolo\]: unknown or unsupported layer"),
    "long-line": (NET + "[conv]\n" + "x" * 5000 + "\n", r"expected `key = value`, got 'x{40}\.\.\.'"),
}


@pytest.mark.parametrize(("text", "message"), TEXT.values(), ids=TEXT)
def test_text_that_is_no_cfg(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=rf"net\.cfg.*{message}"):
        imported(tmp_path, text, b"")


@pytest.mark.parametrize("kind", ["rnn", "gru", "lstm", "crnn", "conv_lstm"])
def test_recurrent_layers_are_refused_by_name(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=rf"line 7: layer 0 \[{kind}\]: recurrent layers"):
        imported(tmp_path, net() + section(kind, output=3), b"")


def test_a_cfg_has_bounds(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"over 2000 layers: not a network in use"):
        imported(tmp_path, NET + "[dropout]\n" * 2001, b"")
    with pytest.raises(ModelFileError, match=r"a cfg has at most 1 MB; this is not one"):
        imported(tmp_path, "#" * (cfg_file.MAX_CFG_BYTES + 1), b"")
    with pytest.raises(ModelNotFoundError, match="no such file"):
        cfg_file.read_cfg(tmp_path)


NETS = {
    "no-width": ("[net]\nheight=16\nchannels=3\n", r"\[net\]: `width` is missing"),
    "zero": (
        "[net]\nwidth=0\nheight=16\nchannels=3\n",
        r"line 2: \[net\]: `width`: expected .* 1 to 32767, got '0'",
    ),
    "negative": ("[net]\nwidth=-16\nheight=16\nchannels=3\n", r"`width`: expected .*got '-16'"),
    "huge": ("[net]\nwidth=99999999999\nheight=16\nchannels=3\n", r"`width`: expected .*got '99999999999'"),
    "endless": ("[net]\nwidth=" + "9" * 5000 + "\nheight=16\nchannels=3\n", r"`width`: expected"),
    "fraction": ("[net]\nwidth=16.5\nheight=16\nchannels=3\n", r"`width`: expected a whole number"),
    "two-channels": ("[net]\nwidth=16\nheight=16\nchannels=2\n", r"`channels`: expected 1 \(gray\), 3"),
    "too-many-numbers": (
        "[net]\nwidth=32767\nheight=32767\nchannels=4\n",
        r"a picture of 32767x32767x4 has 4294705156 numbers, over 2147483647",
    ),
    "other-inputs": ("[net]\nwidth=16\nheight=16\nchannels=3\ninputs=5\n", r"`inputs`: expected .*got '5'"),
    "no-picture": ("[net]\ninputs=256\n", r"`inputs`: a network without a picture"),
    "flag": (
        "[net]\nwidth=16\nheight=16\nchannels=3\nletter_box=yes\n",
        r"`letter_box`: expected a number, got 'yes'",
    ),
}


@pytest.mark.parametrize(("text", "message"), NETS.values(), ids=NETS)
def test_pictures_that_cannot_be(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=message):
        imported(tmp_path, text + conv(4), b"")


LAYERS: dict[str, tuple[str, str]] = {
    "filters-negative": (conv(-4), r"layer 0 \[convolutional\]: `filters`: expected .*got '-4'"),
    "filters-huge": (conv(1 << 40), r"`filters`: expected a whole number from 1 to 1048576"),
    "size-zero": (conv(4, 0), r"`size`: expected a whole number from 1 to"),
    "stride-zero": (conv(4, stride=0), r"`stride`: expected a whole number from 1 to"),
    "stride-text": (conv(4, stride="two"), r"`stride`: expected a whole number .*got 'two'"),  # type: ignore[arg-type]
    "padding-negative": (conv(4, pad=0, padding=-1), r"`padding`: expected a whole number from 0"),
    "picture-too-small": (conv(4, 17, pad=0), r"nothing is left of its input 16x16x3: .*too small"),
    "too-large": (
        section("upsample", stride=60000),
        r"its output would be 960000x960000x3: 2764800000000 numbers, over",
    ),
    "groups": (conv(4, groups=2), r"`groups`: 2 groups do not divide its 3 input channels"),
    "groups-of-filters": (conv(4, groups=3), r"`groups`: 3 groups do not divide its 4 filters"),
    "dilation": (conv(4, pad=0, dilation=2), r"`dilation`: padding of 0 does not keep the size"),
    "activation": (conv(4, activation="sine"), r"`activation`: unknown activation 'sine'; known: linear,"),
    "binary": (conv(4, binary=1), r"`binary`: '1' is not supported: binary weights"),
    "xnor": (conv(4, xnor=1), r"`xnor`: '1' is not supported"),
    "antialiasing": (conv(4, antialiasing=1), r"`antialiasing`: '1' is not supported"),
    "dontload": (conv(4, dontload=1), r"`dontload`: '1' is not supported: the layer's weights"),
    "share": (
        conv(4) + conv(4, share_index=0),
        r"layer 1 .*`share_index`: weights shared with another layer",
    ),
    "local-pad": (section("local", size=5, pad=1), r"`pad`: padding of 1 does not keep the size"),
    "maxpool-padding": (maxpool(2, 1, padding=5), r"`padding`: 5 leaves windows of 2 without a pixel"),
    "maxpool-depth": (
        maxpool(1, 1, maxpool_depth=1, out_channels=2),
        r"`out_channels`: 2 does not divide its 3 input channels",
    ),
    "normalization": (section("normalization", size=7), r"`size`: 7 is a window beyond its 3 input"),
    "softmax-tree": (section("softmax", tree="9k.tree"), r"`tree`: a softmax over a tree of classes"),
    "softmax-groups": (section("softmax", groups=7), r"`groups`: 7 groups do not divide its 768 inputs"),
    "softmax-cold": (section("softmax", temperature=0), r"`temperature`: expected a number over 0"),
    "softmax-nan": (section("softmax", temperature="nan"), r"`temperature`: expected a number, got 'nan'"),
    "normalization-beyond": (
        section("normalization", size=3, alpha="1e308"),
        r"`alpha`: expected a number, got '1e308'",
    ),
    "route-nothing": (section("route"), r"layer 0 \[route\]: `layers`: no layer lies before it"),
    "route-missing": (conv(4) + section("route"), r"layer 1 \[route\]: `layers` is missing"),
    "route-itself": (conv(4) + route("1"), r"`layers`: expected a whole number from -1 to 0, got '1'"),
    "route-ahead": (conv(4) + route("0,5"), r"`layers`: expected a whole number from -1 to 0, got '5'"),
    "route-too-far-back": (conv(4) + route("-2"), r"`layers`: expected .* from -1 to 0, got '-2'"),
    "route-empty-part": (conv(4) + route("0,,0"), r"`layers`: expected a whole number .*got ''"),
    "route-sizes": (conv(4) + maxpool() + route("-1,-2"), r"its inputs differ in size: 8x8x4 and 16x16x4"),
    "route-groups": (conv(5) + route("-1", groups=2), r"`groups`: 2 groups do not divide 5 input"),
    "route-group": (conv(4) + route("-1", groups=2, group_id=2), r"`group_id`: expected .* from 0 to 1"),
    "shortcut-sizes": (
        conv(4, stride=2) + conv(4) + section("upsample") + shortcut("0"),
        r"layer 3 \[shortcut\]: `from`: it adds 8x8x4 to 16x16x4: expected maps of one size",
    ),
    "shortcut-alpha": (conv(4) + conv(4) + shortcut("-2", alpha=0.5), r"`alpha`: only 1 is supported"),
    "shortcut-weights": (
        conv(4) + conv(4) + shortcut("-2", weights_type="per_pixel"),
        r"`weights_type`: expected none, per_feature or per_channel",
    ),
    "shortcut-normalization": (
        conv(4) + conv(4) + shortcut("-2", weights_normalization="max"),
        r"`weights_normalization`: expected none, relu or softmax",
    ),
    "sam": (conv(4) + conv(5) + section("sam", from_=-2), r"it multiplies 16x16x5 by 16x16x4"),
    "sam-two": (conv(4) + conv(4) + section("sam", from_="-2,-1"), r"`from`: expected one layer, got 2"),
    "scale": (conv(4) + conv(4) + section("scale_channels", from_=-2), r"expected 1x1x4"),
    "reorg": (section("reorg", stride=2), r"`stride`: 2 does not divide its input 16x16x3 into blocks"),
    "reorg-odd": (conv(4) + section("reorg", stride=3), r"`stride`: 3 does not divide its input"),
    "reorg-extra": (conv(4) + section("reorg", stride=2, extra=1), r"`extra`: '1' is not supported"),
    "upsample-down": (section("upsample", stride=-2), r"`stride`: a stride below 0 \(downsampling\)"),
    "crop": (section("crop", crop_width=17, crop_height=4), r"`crop_width`: expected .* from 1 to 16"),
    "yolo-channels": (
        raw(70) + yolo_layer("0,1,2"),
        r"layer 1 \[yolo\]: expected 75 input channels .*got 70",
    ),
    "yolo-mask": (raw(75) + yolo_layer("0,1,9"), r"`mask`: expected a whole number from 0 to 5, got '9'"),
    "yolo-anchors": (
        raw(75) + section("yolo", mask="0,1,2", num=3, anchors="1,2,3,4", classes=20),
        r"`anchors`: expected 3 pairs of numbers over 0 \(as `num` says\), got 4 numbers",
    ),
    "yolo-anchor-zero": (raw(25) + yolo_layer("0", "0,1"), r"`anchors`: expected 1 pairs of numbers over 0"),
    "yolo-scale": (raw(75) + yolo_layer("0,1,2", scale_x_y=-1), r"`scale_x_y`: expected a number over 0"),
    "yolo-read": (
        raw(75) + yolo_layer("0,1,2") + conv(4),
        r"layer 2 \[convolutional\]: it reads layer 1 \[yolo\], which puts out decoded boxes",
    ),
    "yolo-classes": (
        raw(75) + yolo_layer("0,1,2") + route("0") + raw(18) + yolo_layer("0,1,2", classes=1),
        r"layer 4 \[yolo\]: `classes`: 1, and layer 1 \[yolo\] has 20",
    ),
    "yolo-new-coords": (
        raw(75) + yolo_layer("0,1,2") + route("0") + raw(75) + yolo_layer("0,1,2", new_coords=1),
        r"layer 4 \[yolo\]: `new_coords`: of layer 1 \[yolo\] another: one detector has the same in all",
    ),
    "two-kinds": (
        raw(75) + yolo_layer("0,1,2") + route("0") + raw(6) + section("region", classes=1),
        r"layer 4 \[region\]: one of 2 detection layers: only several \[yolo\] make one detector",
    ),
    "region-tree": (raw(125) + section("region", num=5, tree="9k.tree"), r"`tree`: a tree of classes"),
    "region-channels": (raw(125) + section("region", num=4), r"expected 100 input channels \(4 anchors x"),
    "detection": (
        section("connected", output=1470) + section("detection", classes=20, coords=4, num=3),
        r"expected 1715 inputs \(7x7 cells x \(3 boxes x 5 \+ 20 classes\)\), got 1470",
    ),
    "detection-coords": (
        section("connected", output=1470) + section("detection", classes=20, coords=5, num=2),
        r"`coords`: expected a whole number from 4 to 4",
    ),
    "cost-read": (conv(4) + section("cost") + conv(4), r"it reads layer 1 \[cost\], which puts out nothing"),
    "idle": (section("dropout") + section("cost"), r"the network computes nothing"),
}


@pytest.mark.parametrize(("layers", "message"), LAYERS.values(), ids=LAYERS)
def test_layers_that_cannot_be(layers: str, message: str, tmp_path: Path) -> None:
    weights = reference.header((0, 2, 5)) + bytes(4 * 400_000)
    with pytest.raises(ModelFileError, match=rf"net\.cfg, line \d+: .*{message}"):
        imported(tmp_path, net() + layers, weights)


def test_options_of_training_are_no_remark_and_others_are(tmp_path: Path) -> None:
    text = net() + conv(4, learning_rate=1, stopbackward=1, blur_more=2) + section("dropout", probability=0.5)
    text = text.replace("batch=1", "burn_in=1000\nfancy=1", 1)
    assert read(tmp_path, text).remarks == (
        "unknown options, ignored: [net] `fancy` in line 3, layer 0 [convolutional] `blur_more` in line 17",
        "dropped, for they act only in training: 1 [dropout]",
    )


def test_many_remarks_are_one(tmp_path: Path) -> None:
    text = net() + conv(4) + "".join(f"odd{number}=1\n" for number in range(500))
    (remark,) = read(tmp_path, text).remarks
    assert remark.endswith(" and 488 more")


def test_a_missing_activation_is_darknets_own(tmp_path: Path) -> None:
    (remark,) = read(tmp_path, net() + section("convolutional", filters=4)).remarks
    assert remark == "layer 0 [convolutional]: no activation stated: logistic, as Darknet takes it"


def test_card_of_yolo(tmp_path: Path) -> None:
    card = read(tmp_path, tiny_yolo_v4(16, 64)).card
    assert (card.name, card.task, card.format) == ("net", "detect", "darknet")
    assert (card.files, list(card.stages), card.labels) == ((), ["network"], ())
    entry = card.image_input
    assert (entry.name, entry.size_wh, entry.color, entry.resize) == ("data", (64, 64), "rgb", "stretch")
    assert (entry.mean, entry.std) == ((), (255.0,) * 3)
    assert card.head is not None
    assert card.head.params == grid.Params(
        layers=(
            grid.Layer(output="yolo_30", anchors=((81, 82), (135, 169), (344, 319)), scale_x_y=1.05),
            grid.Layer(output="yolo_37", anchors=((23, 27), (37, 58), (81, 82)), scale_x_y=1.05),
        ),
        classes=20,
    )


def test_card_of_region_and_detection(tmp_path: Path) -> None:
    found = read(tmp_path, tiny_yolo_v2(16, 64)).card.head.params
    assert isinstance(found, grid.Params)
    assert (found.layers[0].output, found.classes, found.coords) == ("region_15", 20, 4)
    assert (found.softmax, found.background, found.unit) == (True, False, "cells")
    assert found.layers[0].anchors[1] == (3.42, 4.41)
    found = read(tmp_path, tiny_yolo_v1(16, 128)).card.head.params
    assert found == vector.Params(output="detection_15", side=2, num=2, classes=20, sqrt=True)


def test_card_of_new_coords_and_defaults(tmp_path: Path) -> None:
    text = net() + raw(2 * 7) + section("yolo", classes=2, num=2, new_coords=1, scale_x_y=2)
    params = read(tmp_path, text).card.head.params
    assert params.layers == (grid.Layer(output="yolo_1", anchors=((0.5, 0.5), (0.5, 0.5)), scale_x_y=2.0),)
    assert (params.size, params.activated) == ("square", True)


INPUTS = {
    "gray": (net(20, 10, 1), {"color": "gray", "channels": 1, "size_wh": (20, 10), "std": (255.0,)}),
    "depth": (net(16, 16, 4), {"color": "rgbd", "channels": 4}),
    "letter-box": (
        net().replace("batch=1", "letter_box=1"),
        {"resize": "letterbox", "pad_value": 127.5, "rounding": "floor", "anchor": "center"},
    ),
}


@pytest.mark.parametrize(("head", "expected"), INPUTS.values(), ids=INPUTS)
def test_how_the_card_feeds(head: str, expected: dict[str, Any], tmp_path: Path) -> None:
    entry = read(tmp_path, head + raw(75) + yolo_layer("0,1,2")).card.image_input
    assert {key: getattr(entry, key) for key in expected} == expected


def test_card_of_classifiers_and_maps(tmp_path: Path) -> None:
    body = net() + conv(10) + section("avgpool")
    card = read(tmp_path, body + section("softmax") + section("cost")).card
    assert (card.task, card.image_input.resize) == ("classify", "crop")
    assert card.head.params == classify.Params(output="softmax_2", is_probability=True)
    assert read(tmp_path, body).card.head.params == classify.Params(output="avgpool_1")
    card = read(tmp_path, net() + conv(10)).card
    assert (card.task, card.head, card.image_input.resize) == ("features", None, "stretch")


def test_names(tmp_path: Path) -> None:
    text = tiny_yolo_v4(16, 64)
    names = tmp_path / "voc.names"
    names.write_text("\n".join(f"class {number}" for number in range(20)) + "\n")
    weights = reference.random_weights(text)
    assert imported(tmp_path, text, weights, names=names).card.labels[19] == "class 19"
    names.write_text("one\ntwo\n")
    with pytest.raises(InputError, match="expected 20 names, one for each class of the network, got 2"):
        imported(tmp_path, text, weights, names=names)
    with pytest.raises(ModelNotFoundError, match="no such file"):
        imported(tmp_path, text, weights, names=tmp_path / "none.names")


@pytest.mark.parametrize("stem", ["YOLO v4 (tiny)", "_", "Ünïcode"])
def test_a_card_has_a_name_whatever_the_file_is_called(stem: str, tmp_path: Path) -> None:
    from edgecv.importers import darknet

    text = net() + conv(4)
    cfg, weights = tmp_path / f"{stem}.cfg", tmp_path / "some.weights"
    cfg.write_text(text)
    weights.write_bytes(reference.random_weights(text))
    assert darknet.read(cfg, weights).card.name
