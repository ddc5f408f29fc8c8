"""Damaged, random and hostile files: an error of the project's, in bounded time and memory."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgecv.errors import InputError, ModelFileError
from edgecv.importers import caffe
from tests.importers.caffe.nets import Net
from tests.importers.caffe.test_caffe_cards import python_proposal
from tests.importers.caffe.test_caffe_files import small

fuzz = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def attempt(text: bytes, weights: bytes, folder: Path) -> bool:
    """Whether the files are read; anything but an error of the project's is a failure."""
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    paths[0].write_bytes(text)
    paths[1].write_bytes(weights)
    problem = ""
    try:
        caffe.read(*paths)
    except (ModelFileError, InputError) as error:
        problem = str(error)
    assert "\n" not in problem
    return not problem


def tiny_ssd() -> Net:
    net = Net("tiny-ssd")
    x = net.batch_norm(net.conv(net.input(1, 3, 16, 16), 4, 3, name="map"))
    net.add("PriorBox", (x, "data"), {"min_size": 3.0, "aspect_ratio": [2.0]}, name="priors")
    loc = net.add("Flatten", net.conv(x, 12, 1, name="loc"), name="loc_flat")
    conf = net.add("Flatten", net.conv(x, 6, 1, name="conf"), name="conf_flat")
    net.add("DetectionOutput", (loc, conf, "priors"), {"num_classes": 2}, name="out")
    return net


def segnet() -> Net:
    net = Net("segnet")
    x = net.relu(net.conv(net.input(1, 3, 9, 7), 4, 3, pad=1))
    x = net.pool(x, tops=("pooled", "mask"))
    x = net.add("BN", x, {"bn_mode": "INFERENCE"}, blobs=[net.vector(4), net.vector(4)], tops=x)
    x = net.add("Upsample", (x, "mask"), {"upsample_h": 9, "upsample_w": 7}, name="up")
    net.add("Softmax", x, name="prob")
    return net


NETS: dict[str, Callable[[], Net]] = {
    "classifier": small,
    "ssd": tiny_ssd,
    "segnet": segnet,
    "faster-rcnn": lambda: python_proposal("'feat_stride': 16", 64),
}
each_net = pytest.mark.parametrize("build", NETS.values(), ids=NETS)


@fuzz
@given(text=st.binary(max_size=300), weights=st.binary(max_size=300))
def test_random_bytes(text: bytes, weights: bytes, tmp_path: Path) -> None:
    net = small()
    assert not attempt(text, net.caffemodel(), tmp_path)
    attempt(net.prototxt().encode(), weights, tmp_path)


@each_net
@fuzz
@given(data=st.data())
def test_flipped_bytes_of_the_text(build: Callable[[], Net], data: st.DataObject, tmp_path: Path) -> None:
    net = build()
    text = bytearray(net.prototxt().encode())
    places = st.integers(0, len(text) - 1)
    for place in data.draw(st.lists(places, min_size=1, max_size=4)):
        text[place] = data.draw(st.integers(0, 255))
    attempt(bytes(text), net.caffemodel(), tmp_path)


@each_net
@fuzz
@given(data=st.data())
def test_numbers_of_any_size_in_the_text(
    build: Callable[[], Net], data: st.DataObject, tmp_path: Path
) -> None:
    net = build()
    text = net.prototxt()
    numbers = list(re.finditer(r"(?<=: )-?[\d.]+", text))
    chosen = data.draw(st.sampled_from(numbers))
    value = data.draw(
        st.sampled_from(["0", "-1", "2", "7", "65535", "2147483647", "4294967295", "-2147483648", "1e38"])
        | st.integers(-(2**63), 2**64).map(str)
        | st.floats().map(str)
    )
    attempt((text[: chosen.start()] + value + text[chosen.end() :]).encode(), net.caffemodel(), tmp_path)


@each_net
@fuzz
@given(data=st.data())
def test_layers_in_another_order(build: Callable[[], Net], data: st.DataObject, tmp_path: Path) -> None:
    net = build()
    lines = net.prototxt().splitlines()
    picked = data.draw(st.lists(st.sampled_from(lines), min_size=1, max_size=len(lines)))
    attempt("\n".join(picked).encode(), net.caffemodel(), tmp_path)


@each_net
@fuzz
@given(data=st.data())
def test_damaged_weights(build: Callable[[], Net], data: st.DataObject, tmp_path: Path) -> None:
    net = build()
    weights = bytearray(net.caffemodel())
    # Sizes, names and tags lie between the long runs of floats: most flips go there.
    near = st.integers(0, min(400, len(weights)) - 1) | st.integers(0, len(weights) - 1)
    for place in data.draw(st.lists(near, min_size=1, max_size=4)):
        weights[place] = data.draw(st.integers(0, 255))
    length = data.draw(st.just(len(weights)) | st.integers(0, len(weights)))
    attempt(net.prototxt().encode(), bytes(weights[:length]), tmp_path)


_MEASURE = """
import sys
from pathlib import Path
from edgecv.importers import caffe

def peak():
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmHWM"))

folder = Path(sys.argv[1])
caffe.read(folder / "small.prototxt", folder / "small.caffemodel")
before = peak()
caffe.read(folder / "large.prototxt", folder / "large.caffemodel")
print(peak() - before)
"""


@pytest.mark.alone
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_memory_is_at_most_three_times_the_file(tmp_path: Path) -> None:
    small().write(tmp_path, "small")
    net = Net("large")
    net.fc(net.pool(net.conv(net.input(1, 3, 64, 64), 64, 3), kernel=2), 104)
    size = net.write(tmp_path, "large")[1].stat().st_size
    assert size > 25_000_000
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) <= 3 * size


@pytest.mark.alone
def test_a_file_that_claims_more_than_it_has_takes_no_memory(tmp_path: Path) -> None:
    """Sizes in the text are checked against the weights before anything of that size is made."""
    net = small()
    text = net.prototxt().replace("num_output: 8", "num_output: 1000000").replace("dim: 12", "dim: 20000")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert not attempt(text.encode(), net.caffemodel(), tmp_path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 << 10
