"""The forms that Caffe's files have: text of two formats, weights of three, phases, inputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecv.importers import NETWORK, Imported, caffe
from edgecv.importers.caffe import caffemodel, prototxt, schema
from tests.importers.caffe.nets import Net
from tests.importers.conformance import run

V1_TYPES = {
    "Convolution": "CONVOLUTION",
    "ReLU": "RELU",
    "LRN": "LRN",
    "Pooling": "POOLING",
    "InnerProduct": "INNER_PRODUCT",
    "Dropout": "DROPOUT",
    "TanH": "TANH",
    "Softmax": "SOFTMAX",
}


def small() -> Net:
    net = Net("small")
    x = net.relu(net.conv(net.input(1, 3, 12, 10), 8, 3, name="conv1", group=1))
    x = net.pool(net.add("LRN", x, {"local_size": 3}, name="norm"), kernel=3, name="pool")
    x = net.add("TanH", net.fc(x, 6, name="fc"), name="tanh")
    net.add("Dropout", x, tops=x)
    net.add("Softmax", x, name="prob")
    return net


def v1_text(net: Net) -> str:
    """The same network in the V1 format, its input by four numbers."""
    lines = [f'input: "data"\n{" ".join(f"input_dim: {n}" for n in net.inputs["data"])}']
    for line in net.prototxt().splitlines()[2:]:
        for today, then in V1_TYPES.items():
            line = line.replace(f'type: "{today}"', f"type: {then}")
        lines.append(line.replace("layer {", "layers {", 1).replace("}", "blobs_lr: 1 blobs_lr: 2 }", 0))
    return "\n".join(lines)


def today_weights(message: Any, name: bytes) -> Any:
    return message.layer.add(name=name)


def v1_weights(message: Any, name: bytes) -> Any:
    return message.layers.add(name=name)


def v0_weights(message: Any, name: bytes) -> Any:
    layer = message.layers.add().layer
    layer.name = name
    return layer


def by_shape(blob: Any, array: np.ndarray) -> None:
    blob.shape.dim.extend(array.shape)


def by_four_sizes(blob: Any, array: np.ndarray) -> None:
    shape = (1,) * (4 - array.ndim) + array.shape
    blob.num, blob.channels, blob.height, blob.width = shape


def floats(blob: Any, array: np.ndarray) -> None:
    blob.data = array.tobytes()


def unpacked_floats(blob: Any, array: np.ndarray) -> None:
    blob.data.extend(array.ravel().tolist())


def doubles(blob: Any, array: np.ndarray) -> None:
    blob.double_data = array.astype(np.float64).tobytes()


def unpacked_doubles(blob: Any, array: np.ndarray) -> None:
    blob.double_data.extend(array.ravel().tolist())


def halves(blob: Any, array: np.ndarray) -> None:
    blob.raw_data_type = 2
    blob.raw_data = array.astype(np.float16).tobytes()


def write(
    net: Net, folder: Path, layer: Callable[..., Any], size: Callable[..., None], values: Callable[..., None]
) -> Path:
    message = schema.weights_types(not values.__name__.startswith("unpacked"))[0]()
    for each in net.layers:
        entry = layer(message, each.name.encode())
        for array in each.blobs:
            blob = entry.blobs.add()
            size(blob, array)
            values(blob, array)
    path = folder / "weights.caffemodel"
    path.write_bytes(message.SerializeToString())
    return path


def output(imported: Imported, net: Net) -> np.ndarray:
    (value,) = run(imported.networks[NETWORK], net.random_inputs()).values()
    return value


def read(folder: Path, text: str, net: Net | None = None) -> Imported:
    """The text, with the weights of a network."""
    path = folder / "net.prototxt"
    path.write_text(text)
    weights = folder / "net.caffemodel"
    weights.write_bytes((net or small()).caffemodel())
    return caffe.read(path, weights)


@pytest.mark.parametrize("values", [floats, unpacked_floats, doubles, unpacked_doubles, halves])
@pytest.mark.parametrize("size", [by_shape, by_four_sizes])
@pytest.mark.parametrize("layer", [today_weights, v1_weights, v0_weights])
def test_weights_of_every_form_are_the_same(layer: Any, size: Any, values: Any, tmp_path: Path) -> None:
    net = small()
    text, weights = net.write(tmp_path)
    expected = output(caffe.read(text, weights), net)
    got = output(caffe.read(text, write(net, tmp_path, layer, size, values)), net)
    if values is halves:
        np.testing.assert_allclose(got, expected, atol=1e-2)
    else:
        np.testing.assert_array_equal(got, expected)


def test_the_v1_format_is_the_same_network(tmp_path: Path) -> None:
    net = small()
    expected = output(caffe.read(*net.write(tmp_path)), net)
    text = v1_text(net)
    assert 'layers { name: "conv1" type: CONVOLUTION' in text
    np.testing.assert_array_equal(output(read(tmp_path, text), net), expected)


def test_every_v1_type_has_a_name_of_today() -> None:
    kinds = prototxt.network_type().DESCRIPTOR.fields_by_name["layers"].message_type
    labels = kinds.fields_by_name["type"].enum_type.values_by_name
    names = {label: prototxt.type_of_v1(label) for label in labels}
    assert names["INNER_PRODUCT"] == "InnerProduct"
    assert names["RELU"] == "ReLU"
    assert names["SIGMOID_CROSS_ENTROPY_LOSS"] == "SigmoidCrossEntropyLoss"
    assert names["HDF5_DATA"] == "HDF5Data"


CONV = (
    'layer { name: "conv" type: "Convolution" bottom: "data" top: "conv" '
    "convolution_param { num_output: 4 kernel_size: 3 } }"
)
INPUT = 'layer { name: "in" type: "Input" top: "data" input_param { shape { dim: [1, 3, 8, 8] } } }'


def one_conv() -> Net:
    net = Net("one")
    net.conv(net.input(1, 3, 8, 8), 4, 3, name="conv")
    return net


INPUTS = {
    "layer": (INPUT, (8, 8)),
    "input-dim": ('input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 6', (6, 8)),
    "input-shape": ('input: "data" input_shape { dim: 4 dim: 3 dim: 8 dim: 6 }', (6, 8)),
    "memory-data": (
        'layer { name: "d" type: "MemoryData" top: "data" top: "label" '
        "memory_data_param { batch_size: 7 channels: 3 height: 9 width: 8 } }",
        (8, 9),
    ),
    "dummy-data": (
        'layer { name: "d" type: "DummyData" top: "data" '
        "dummy_data_param { shape { dim: 2 dim: 3 dim: 7 dim: 8 } } }",
        (8, 7),
    ),
    "dummy-data-sizes": (
        'layer { name: "d" type: "DummyData" top: "data" '
        "dummy_data_param { num: 2 channels: 3 height: 7 width: 8 } }",
        (8, 7),
    ),
    "data-crop": (
        'layer { name: "d" type: "Data" top: "data" top: "label" transform_param { crop_size: 11 } '
        'data_param { source: "train_lmdb" batch_size: 64 backend: LMDB } }',
        (11, 11),
    ),
    "image-data": (
        'layer { name: "d" type: "ImageData" top: "data" top: "label" '
        "image_data_param { new_height: 8 new_width: 10 } }",
        (10, 8),
    ),
    "annotated-data": (
        'layer { name: "d" type: "AnnotatedData" top: "data" top: "label" '
        "transform_param { resize_param { prob: 1 resize_mode: WARP height: 9 width: 7 "
        "interp_mode: LINEAR } distort_param { brightness_prob: 0.5 } } "
        "annotated_data_param { batch_sampler { max_sample: 1 sampler { min_scale: 0.3 } } } }",
        (7, 9),
    ),
}


@pytest.mark.parametrize(("text", "size_wh"), INPUTS.values(), ids=INPUTS)
def test_inputs_of_every_form(text: str, size_wh: tuple[int, int], tmp_path: Path) -> None:
    imported = read(tmp_path, f"{text}\n{CONV}", one_conv())
    (entry,) = imported.card.inputs
    assert (entry.name, entry.size_wh, entry.color) == ("data", size_wh, "bgr")


def test_layers_of_training_are_left_out(tmp_path: Path) -> None:
    text = f"""{INPUT}
    layer {{ name: "label" type: "Data" top: "pixels" top: "label" include {{ phase: TRAIN }} }}
    layer {{ name: "labels" type: "HDF5Data" top: "label" include {{ phase: TEST }}
      hdf5_data_param {{ source: "x" batch_size: 3 }} }}
    {CONV}
    layer {{ name: "half" type: "Split" bottom: "label" top: "label_a" top: "label_b" }}
    layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "conv" bottom: "label_a" top: "loss"
      loss_weight: 1 loss_param {{ ignore_label: 255 normalization: VALID }} }}
    layer {{ name: "accuracy" type: "Accuracy" bottom: "conv" bottom: "label_b" top: "accuracy"
      include {{ phase: TEST }} accuracy_param {{ top_k: 5 }} }}
    layer {{ name: "train" type: "Dropout" bottom: "conv" top: "conv" include {{ phase: TRAIN }} }}"""
    imported = read(tmp_path, text, one_conv())
    model = imported.networks[NETWORK]
    assert [spec.name for spec in model.facts.outputs] == ["conv"]
    assert len(model.proto.graph.node) == 1
    left_out = [remark for remark in imported.remarks if "belongs to training" in remark]
    assert {remark.split("'")[1] for remark in left_out} == {"labels", "half", "loss", "accuracy"}


PHASES = {
    "include-test": ("include { phase: TEST }", True),
    "include-train": ("include { phase: TRAIN }", False),
    "exclude-train": ("exclude { phase: TRAIN }", True),
    "exclude-test": ("exclude { phase: TEST }", False),
    "either": ("include { phase: TRAIN } include { phase: TEST }", True),
    "level-too-high": ("include { min_level: 1 }", False),
    "level-fits": ("include { min_level: 0 max_level: 2 }", True),
    "stage-unknown": ('include { stage: "other" }', False),
    "not-stage": ('include { not_stage: "other" }', True),
    "deploy": ('include { stage: "deploy" }', True),
    "not-in-deploy": ('exclude { stage: "deploy" }', False),
    "train-and-level": ("exclude { phase: TEST min_level: 4 }", True),
}


@pytest.mark.parametrize(("rule", "is_kept"), PHASES.values(), ids=PHASES)
def test_phases_levels_and_stages(rule: str, is_kept: bool, tmp_path: Path) -> None:
    text = f'{INPUT}\n{CONV}\nlayer {{ name: "r" type: "ReLU" bottom: "conv" top: "r" {rule} }}'
    imported = read(tmp_path, text, one_conv())
    assert [spec.name for spec in imported.networks[NETWORK].facts.outputs] == ["r" if is_kept else "conv"]


def test_stages_of_the_network_itself(tmp_path: Path) -> None:
    rule = 'include { stage: "wide" }'
    text = f'state {{ stage: "wide" }}\n{INPUT}\n{CONV}\n'
    text += f'layer {{ name: "r" type: "ReLU" bottom: "conv" top: "r" {rule} }}'
    imported = read(tmp_path, text, one_conv())
    assert [spec.name for spec in imported.networks[NETWORK].facts.outputs] == ["r"]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"\ufeff{INPUT}\n{CONV}", id="byte-order-mark"),
        pytest.param(f"# 卷积 \xff comment\n{INPUT} # end\n{CONV}", id="comments"),
        pytest.param(f"{INPUT}\r\n{CONV}\r\n", id="windows"),
        pytest.param(f'name: "C:\\lib" {INPUT}\n{CONV}', id="unknown-escape"),
        pytest.param(CONV.replace("{", ": {", 1).join([f"{INPUT}\n", ""]), id="colons"),
    ],
)
def test_ways_to_write_text(text: str, tmp_path: Path) -> None:
    assert read(tmp_path, text, one_conv()).card.inputs


def test_text_in_another_encoding(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_bytes("# 卷积层\n".encode("gb18030") + f"{INPUT}\n{CONV}".encode())
    weights = tmp_path / "net.caffemodel"
    weights.write_bytes(one_conv().caffemodel())
    assert caffe.read(path, weights).card.inputs


def test_fields_of_the_forks_are_known(tmp_path: Path) -> None:
    """What stands in files of the networks in use and changes nothing in what they compute."""
    text = f"""name: "forks" force_backward: true debug_info: true
    {INPUT}
    layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv" propagate_down: true
      param {{ name: "w" lr_mult: 1 decay_mult: 1 share_mode: PERMISSIVE }} param {{ lr_mult: 2 }}
      convolution_param {{ num_output: 4 kernel_size: 3 engine: CAFFE
        weight_filler {{ type: "xavier" variance_norm: AVERAGE }} bias_filler {{ type: "constant" value: 0 }}
        cudnn_convolution_algo_seeker: FINDEX }} }}
    layer {{ name: "r" type: "ReLU" bottom: "conv" top: "conv" relu_param {{ engine: CUDNN }} }}"""
    assert read(tmp_path, text, one_conv()).card.name == "net"


def test_mean_images_of_every_form(tmp_path: Path) -> None:
    image = np.random.default_rng(0).uniform(0, 255, (3, 5, 4)).astype(np.float32)
    for packed in (True, False):
        for legacy in (True, False):
            message = schema.weights_types(packed)[1]()
            (by_four_sizes if legacy else by_shape)(message, image[None])
            (floats if packed else unpacked_floats)(message, image)
            path = tmp_path / "mean.binaryproto"
            path.write_bytes(message.SerializeToString())
            np.testing.assert_array_equal(caffemodel.read_mean(path), image)
