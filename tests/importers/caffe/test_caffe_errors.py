"""What is wrong with a file is said in one line that names the file, the line or layer, and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.errors import InputError, ModelFileError, ModelNotFoundError
from edgecv.importers import caffe
from edgecv.importers.caffe import schema
from tests.importers.caffe.nets import Net
from tests.importers.caffe.test_caffe_files import CONV, INPUT, one_conv, read, small


def layer(kind: str, body: str = "", bottoms: str = "conv", tops: str = "out") -> str:
    names = "".join(f' bottom: "{name}"' for name in bottoms.split())
    names += "".join(f' top: "{name}"' for name in tops.split())
    return f'{INPUT}\n{CONV}\nlayer {{ name: "bad" type: "{kind}"{names} {body} }}'


def conv(body: str) -> str:
    return f'{INPUT}\nlayer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" ' + (
        f"convolution_param {{ {body} }} }}"
    )


# Text -> what the message says of it. The network's weights are those of one 3x3 convolution to 4.
WRONG_TEXT = {
    "empty": ("", r"no layers"),
    "no-text": ("\x00\x01\x02", r"line 1: .*expected the text file of a Caffe network"),
    "unclosed": (f"{INPUT}\n{CONV[:-1]}", r"line 2: .*Expected"),
    "unknown-field": (
        f'{INPUT}\nlayer {{ name: "x"\n hue: 3 }}',
        r"line 3: unknown field 'hue' in LayerParameter: a typing error, or of a fork",
    ),
    "unknown-inner-field": (
        conv("num_output: 4\nkernel_sise: 3"),
        r"line 3: unknown field 'kernel_sise' in ConvolutionParameter",
    ),
    "unknown-enum": (
        layer("Pooling", "pooling_param { pool: MEDIAN }"),
        r"line 3: unknown PoolMethod 'MEDIAN'",
    ),
    "unknown-v1-type": ('layers { type: FOO name: "x" }', r"line 1: unknown V1LayerType 'FOO'"),
    "twice": (f'{INPUT}\nlayer {{ name: "a" name: "b" }}', r"line 2: field 'name' is given twice"),
    "v0-format": (
        'layers { layer { name: "conv" type: "conv" num_output: 3 } bottom: "data" top: "x" }',
        r"line 1: layers of Caffe's first format \(V0\): upgrade the file",
    ),
    "both-formats": (f"{INPUT}\nlayers {{ type: RELU }}", r"both `layer` and `layers`"),
    "lines-in-a-name": (layer("Re\\nLU"), r"layer 'bad': name 'Re\\nLU': expected letters and signs"),
    "lines-in-an-input": (INPUT.replace("data", "da\\nta"), r"name 'da\\nta': expected letters"),
    "no-type": (f'{INPUT}\nlayer {{ name: "x" bottom: "data" top: "y" }}', r"layer 'x': no `type`"),
    "no-input": (CONV, r"no input: expected an Input layer"),
    "no-shape": (f'layer {{ name: "i" type: "Input" top: "data" }}\n{CONV}', r"no shape for 'data'"),
    "input-without-dims": (f'input: "data" input_dim: 3\n{CONV}', r"1 `input` with 0 `input_shape` and 1"),
    "negative-size": (INPUT.replace("8, 8", "-8, 8") + CONV, r"layer 'in' \(Input\): shape \(1, 3, -8, 8\)"),
    "no-size": (INPUT.replace("8, 8", "0, 8") + CONV, r"sizes at most, of 1 or more"),
    "huge-size": (INPUT.replace("8, 8", "99999999, 99999") + CONV, r"2147483647 values at most"),
    "size-over-int64": (INPUT.replace("8, 8", "9" * 30) + CONV, r"line 1: .*out of range"),
    "input-twice": (f"{INPUT}\n{INPUT}\n{CONV}", r"'data' is an input already"),
    "no-bottom": (
        layer("ReLU", bottoms="nothing"),
        r"layer 'bad' \(ReLU\): bottom 'nothing' is no blob; .*conv",
    ),
    "cycle": (
        layer("Eltwise", bottoms="conv later")
        + '\nlayer { name: "l" type: "ReLU" bottom: "out" top: "later" }',
        r"layer 'bad' \(Eltwise\): bottom 'later' is made by layer 'l' \(ReLU\) further down",
    ),
    "top-twice": (
        layer("ReLU", bottoms="data", tops="conv"),
        r"top 'conv' is made by layer 'conv' .*already",
    ),
    "top-is-input": (layer("ReLU", tops="data"), r"top 'data' is made by the network's input already"),
    "too-many-tops": (layer("ReLU", tops="a b"), r"layer 'bad' \(ReLU\): 2 tops: expected 1"),
    "unknown-layer": (
        layer("Warp"),
        r"layer 'bad' \(Warp\): not a layer that edgecv reads; it reads AbsVal, ",
    ),
    "python-layer": (
        layer("Python", 'python_param { module: "os" layer: "System" }'),
        r"layer 'System' of module 'os' is a program beside the network, which is not run",
    ),
    "no-outputs": (conv("kernel_size: 3"), r"layer 'conv' \(Convolution\): num_output 0: expected 1 to"),
    "no-kernel": (conv("num_output: 4"), r"kernel: 0 sizes for 2 axes"),
    "half-a-kernel": (conv("num_output: 4 kernel_h: 3"), r"kernel: expected kernel_h and kernel_w"),
    "three-strides": (conv("num_output: 4 kernel_size: 3 stride: [1, 2, 3]"), r"stride: 3 sizes for 2 axes"),
    "zero-stride": (conv("num_output: 4 kernel_size: 3 stride: 0"), r"stride 0: expected 1 to"),
    "huge-kernel": (conv("num_output: 4 kernel_size: 4000000000"), r"kernel 4000000000: expected 1 to"),
    "huge-outputs": (conv("num_output: 4000000000 kernel_size: 3"), r"num_output 4000000000: expected"),
    "group": (conv("num_output: 4 kernel_size: 3 group: 2"), r"group 2 divides neither or one of 3 channels"),
    "conv-axis": (conv("num_output: 4 kernel_size: 3 axis: 2"), r"axis 2: expected 1"),
    "large-kernel": (conv("num_output: 4 kernel_size: 9"), r"layer 'conv'.*weights: expected 972 values"),
    "stochastic": (
        layer("Pooling", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"),
        r"STOCHASTIC is random",
    ),
    "wide-pad": (
        layer("Pooling", "pooling_param { kernel_size: 2 pad: 2 }"),
        r"expected less than the kernel",
    ),
    "global-pad": (
        layer("Pooling", "pooling_param { global_pooling: true pad: 1 }"),
        r"global_pooling with a pad or a stride",
    ),
    "empty-window": (
        layer("Pooling", "pooling_param { kernel_size: 1 stride: 2 }"),
        r"kernel 1 and stride 2 put the last window outside 6 cells",
    ),
    "large-pool": (layer("Pooling", "pooling_param { kernel_size: 90 }"), r"kernel of 90 on 6 cells leaves"),
    "mask-of-ave": (
        layer("Pooling", "pooling_param { pool: AVE kernel_size: 2 }", tops="a m"),
        r"second top",
    ),
    "eltwise-shapes": (
        layer("Eltwise", bottoms="conv data"),
        r"bottoms of shapes \(1, 4, 6, 6\) and \(1, 3, 8",
    ),
    "eltwise-one": (layer("Eltwise"), r"takes 1 bottom: expected 2 or more"),
    "eltwise-coeff": (
        layer("Eltwise", "eltwise_param { coeff: 1 }", bottoms="conv conv"),
        r"1 coefficients for 2 bottoms",
    ),
    "concat-shapes": (layer("Concat", bottoms="conv data"), r"expected the same but for axis 1"),
    "concat-axis": (
        layer("Concat", "concat_param { axis: 4 }", bottoms="conv conv"),
        r"axis 4 of a blob of 4",
    ),
    "slice-points": (
        layer("Slice", "slice_param { slice_point: [3, 2] }", tops="a b c"),
        r"slice_point \[3, 2\] of axis 1, 4 long",
    ),
    "slice-uneven": (layer("Slice", tops="a b c"), r"slice_point .* into 3 tops"),
    "reshape-count": (
        layer("Reshape", "reshape_param { shape { dim: 5 dim: 7 } }"),
        r"shape \[5, 7\] for 144 values .*the counts differ",
    ),
    "reshape-endless": (
        layer("Reshape", f"reshape_param {{ shape {{ {'dim: 9 ' * 2000} }} }}"),
        r"shape of 2000 sizes: expected at most 32",
    ),
    "prior-endless": (
        layer("PriorBox", "prior_box_param { min_size: 3 " + "aspect_ratio: 2 " * 999 + "}", "conv data"),
        r"expected at most 200",
    ),
    "axes": (INPUT.replace("8, 8", ", ".join("1" * 60)) + CONV, r"expected 32 sizes at most"),
    "reshape-twice-open": (
        layer("Reshape", "reshape_param { shape { dim: -1 dim: -1 } }"),
        r"at most one -1",
    ),
    "reshape-negative": (layer("Reshape", "reshape_param { shape { dim: -5 } }"), r"size 0 cannot be taken"),
    "permute": (layer("Permute", "permute_param { order: [0, 0] }"), r"expected each axis once"),
    "permute-far": (layer("Permute", "permute_param { order: [7] }"), r"order \[7\] of a bottom of 4 axes"),
    "crop": (layer("Crop", "crop_param { offset: 4 }", bottoms="data conv"), r"reach out of \(1, 3, 8, 8\)"),
    "flatten": (layer("Flatten", "flatten_param { axis: 3 end_axis: 1 }"), r"axis 3 to end_axis 1"),
    "tile": (layer("Tile", "tile_param { tiles: 0 }"), r"tiles 0: expected 1 to"),
    "tile-huge": (
        layer("Tile", "tile_param { tiles: 1000000 }")
        + 'layer { name: "t" type: "Tile" bottom: "out" top: "t" tile_param { axis: 2 tiles: 1000000 } }',
        r"layer 't' \(Tile\): top 't': shape .*2147483647 values at most",
    ),
    "argmax": (layer("ArgMax", "argmax_param { axis: 1 top_k: 5 }"), r"top_k 5 of 4 values"),
    "shuffle": (layer("ShuffleChannel", "shuffle_channel_param { group: 3 }"), r"group 3 of a bottom"),
    "lrn-even": (layer("LRN", "lrn_param { local_size: 4 }"), r"local_size 4: expected an odd number"),
    "exp-base": (layer("Exp", "exp_param { base: 0 }"), r"base 0.0: expected one over 0, or -1 for e"),
    "log-base": (layer("Log", "log_param { base: 1 }"), r"base 1 has no logarithm"),
    "softmax-axis": (layer("Softmax", "softmax_param { axis: -5 }"), r"axis -5 of a blob of 4 axes"),
    "interp-pad": (layer("Interp", "interp_param { pad_beg: 3 }"), r"expected 0, or less to cut off"),
    "interp-nothing": (layer("Interp", "interp_param { pad_beg: -6 }"), r"leave nothing"),
    "interp-zoom": (layer("Interp", "interp_param { zoom_factor: -2 }"), r"zoom_factor -2: expected 1 to"),
    "interp-type": (layer("Interp", 'interp_param { interp_type: "cubic" }'), r"expected bilinear"),
    "upsample": (layer("Upsample", "upsample_param { scale: 1.5 }"), r"scale 1.5: expected a whole number"),
    "upsample-mask": (
        layer("Upsample", bottoms="conv data"),
        r"second bottom is not the mask of a max pooling",
    ),
    "scale-axis": (layer("Scale", "scale_param { axis: 3 num_axes: 2 }"), r"axis 3 and num_axes 2"),
    "scale-shapes": (layer("Scale", bottoms="conv data"), r"expected the second from axis 1 on"),
    "no-weights": (
        layer("PReLU"),
        r"layer 'bad' \(PReLU\): no weights in .*expected slopes \(4,\); is it of",
    ),
    "priors-alone": (
        layer("PriorBox", "prior_box_param { min_size: 3 }", bottoms="conv data"),
        r"no layer gives an output",
    ),
    "prior-size": (layer("PriorBox", bottoms="conv data"), r"0 min_size and 0 max_size"),
    "prior-negative": (
        layer("PriorBox", "prior_box_param { min_size: -1 }", bottoms="conv data"),
        r"expected at most 200, all over 0",
    ),
    "prior-as-value": (
        layer("PriorBox", "prior_box_param { min_size: 3 }", bottoms="conv data")
        + 'layer { name: "r" type: "ReLU" bottom: "out" top: "r" }',
        r"layer 'r' \(ReLU\): bottom 'out' is priors, no value of the network",
    ),
    "detection-without-priors": (
        layer("DetectionOutput", "detection_output_param { num_classes: 2 }", bottoms="conv conv data"),
        r"takes 3 bottoms: expected offsets, scores and the priors",
    ),
    "roi-without-proposals": (
        layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", bottoms="conv data"),
        r"'data' is not the proposals of a Proposal layer",
    ),
    "proposal-channels": (layer("Proposal", bottoms="conv conv data"), r"for 9 anchors: expected \(1, 18, "),
    "proposal-param": (
        layer(
            "Python", "python_param { layer: 'ProposalLayer' param_str: \"'feat_stride': x\" }", "conv conv"
        ),
        r"param_str .*expected numbers for feat_stride, ratios, scales",
    ),
    "cluster-param": (
        layer("Python", "python_param { layer: 'ClusterDetections' param_str: '1,2' }", "conv conv"),
        r"param_str '1,2': expected image_x, image_y, stride",
    ),
}


@pytest.mark.parametrize(("text", "message"), WRONG_TEXT.values(), ids=WRONG_TEXT)
def test_wrong_text(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=message) as caught:
        read(tmp_path, text, one_conv())
    line = str(caught.value)
    assert line.startswith(str(tmp_path / "net.prototxt"))
    assert "\n" not in line
    assert len(line) < 1000


def damaged(net: Net, change: Any) -> bytes:
    message = schema.weights_types(True)[0]()
    message.ParseFromString(net.caffemodel())
    change(message)
    data: bytes = message.SerializeToString()
    return data


def resized(message: Any) -> None:
    message.layer[0].blobs[0].shape.dim[:] = [4, 27, 1, 1]


def short(message: Any) -> None:
    blob = message.layer[0].blobs[0]
    blob.data = blob.data[:-4]


def torn(message: Any) -> None:
    blob = message.layer[0].blobs[0]
    blob.data = blob.data[:-3]


def renamed(message: Any) -> None:
    message.layer[0].name = b"other"


def without_bias(message: Any) -> None:
    del message.layer[0].blobs[1]


def negative(message: Any) -> None:
    message.layer[0].blobs[0].shape.dim[0] = -4


def endless(message: Any) -> None:
    message.layer[0].blobs[0].shape.dim[:] = [2] * 100_000


def of_another_type(message: Any) -> None:
    blob = message.layer[0].blobs[0]
    blob.raw_data, blob.raw_data_type = b"1234", 9


WRONG_WEIGHTS = {
    "resized": (
        resized,
        r"layer 'conv' .*: weights: expected 108 values \(4, 3, 3, 3\), found 108 \(4, 27, 1, 1\) in",
    ),
    "short": (short, r"layer 'conv': blob 0: 107 values for a shape of \(4, 3, 3, 3\)"),
    "torn": (torn, r"layer 'conv': blob 0: 0 values|not a binary file"),
    "renamed": (
        renamed,
        r"layer 'conv' \(Convolution\): no weights in .*expected weights \(4, 3, 3, 3\), bias",
    ),
    "without-bias": (without_bias, r"1 blobs in .*\(\(4, 3, 3, 3\)\): expected 2: weights .*, bias \(4,\)"),
    "negative": (negative, r"blob 0: 108 values for a shape of \(-4, 3, 3, 3\)"),
    "endless": (endless, r"blob 0: 108 values for a shape of \(2, 2, 2, 2, 2, 2, 2, 2\)"),
    "of-another-type": (of_another_type, r"blob 0: 4 bytes of type 9"),
}


@pytest.mark.parametrize(("change", "message"), WRONG_WEIGHTS.values(), ids=WRONG_WEIGHTS)
def test_wrong_weights(change: Any, message: str, tmp_path: Path) -> None:
    net = one_conv()
    text, weights = net.write(tmp_path)
    weights.write_bytes(damaged(net, change))
    with pytest.raises(ModelFileError, match=message) as caught:
        caffe.read(text, weights)
    assert "net.caffemodel" in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_FILES = {
    "empty": (b"", r"no layer in it: not a caffemodel"),
    "random": (bytes(range(256)) * 20, r"not a binary file of Caffe, or a damaged one \(5120 bytes\)"),
    "text": (b'layer { name: "conv" }', r"not a binary file of Caffe|no layer in it"),
    "hdf5": (b"\x89HDF\r\n\x1a\n" + bytes(100), r"weights in HDF5: save them as a caffemodel"),
    "zip": (b"PK\x03\x04" + bytes(64), r"not a binary file of Caffe|no layer in it"),
}


@pytest.mark.parametrize(("data", "message"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_files_that_are_no_weights(data: bytes, message: str, tmp_path: Path) -> None:
    text, weights = one_conv().write(tmp_path)
    weights.write_bytes(data)
    with pytest.raises(ModelFileError, match=message):
        caffe.read(text, weights)


def test_files_that_are_not_there(tmp_path: Path) -> None:
    text, weights = one_conv().write(tmp_path)
    for pair in (
        (tmp_path / "none.prototxt", weights),
        (text, tmp_path / "none.caffemodel"),
        (tmp_path, weights),
    ):
        with pytest.raises((ModelFileError, ModelNotFoundError), match=r"none|cannot be read"):
            caffe.read(*pair)
    with pytest.raises(ModelNotFoundError, match=r"mean: .*none\.npy: no such file"):
        caffe.read(text, weights, mean=tmp_path / "none.npy")


def test_a_text_file_of_any_size_is_bounded(tmp_path: Path) -> None:
    _, weights = one_conv().write(tmp_path)
    text = tmp_path / "large.prototxt"
    text.write_text("#" * (5 << 20))
    with pytest.raises(ModelFileError, match="over 4 MB"):
        caffe.read(text, weights)
    text.write_text("layer{" + "bottom:'x'" * 60_000 + "}")
    with pytest.raises(ModelFileError, match="60000 bottoms and tops: expected at most 50000"):
        caffe.read(text, weights)
    text.write_text("layer{}" * 20_000)
    with pytest.raises(ModelFileError, match="20000 layers: expected at most 10000"):
        caffe.read(text, weights)


def npy(path: Path, array: Any, **how: Any) -> Path:
    np.save(path, array, **how)
    return path


def test_means_that_do_not_fit(tmp_path: Path) -> None:
    text, weights = small().write(tmp_path)
    objects = npy(tmp_path / "o.npy", np.array([{}], dtype=object), allow_pickle=True)
    header = tmp_path / "header.npy"
    header.write_bytes(npy(tmp_path / "m.npy", np.zeros((3, 2, 2), np.float32)).read_bytes()[:-20])
    huge = tmp_path / "huge.npy"
    with huge.open("wb") as file:
        fields = {"descr": "<f4", "fortran_order": False, "shape": (3, 10**6, 10**6)}
        np.lib.format.write_array_header_1_0(file, fields)
    empty = tmp_path / "empty.npy"
    empty.write_bytes(b"")
    for path, message in (
        (objects, "not an array of NumPy's"),
        (header, "not an array of NumPy's"),
        (huge, "not an array of NumPy's"),
        (empty, "not an array of NumPy's"),
        (npy(tmp_path / "two.npy", np.zeros((2, 4, 4))), "an image of 2 channels, the network takes 3"),
        (npy(tmp_path / "flat.npy", np.zeros((4, 4))), r"expected \(channels, height, width\)"),
        (npy(tmp_path / "nan.npy", np.full((3, 4, 4), np.nan)), "values that are not numbers"),
        (weights, "a mean image whose values do not fit|not a binary file|expected one image"),
    ):
        with pytest.raises((ModelFileError, InputError), match=message):
            caffe.read(text, weights, mean=path)
    with pytest.raises(InputError, match="mean: 2 values for 3 channels: expected 1 or 3"):
        caffe.read(text, weights, mean=(1.0, 2.0))
