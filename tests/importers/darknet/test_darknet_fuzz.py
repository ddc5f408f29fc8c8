"""Damaged and hostile files: read, or refused with an error of ours; never anything else."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from edgecv.errors import InputError, ModelFileError
from edgecv.importers import darknet
from edgecv.importers.base import Imported
from tests.importers.darknet import reference
from tests.importers.darknet.structures import CASES, conv, net, route, section, tiny_yolo_v4

CFG = net() + conv(4) + section("local", filters=2, size=3, pad=1) + conv(4) + route("-1,0")
WEIGHTS = reference.random_weights(CFG)
CFGS = [case.cfg() for case in CASES if not case.is_slow and "yolo" not in case.id] + [tiny_yolo_v4(16, 64)]
# Enough for any of them, so that a changed network is also built.
PLENTY = reference.header((0, 2, 5)) + bytes(1 << 20)

VALUES = st.one_of(
    st.sampled_from(["0", "-1", "1", "2", "3", "7", "65536", "2147483647", "-2147483648", "9" * 30, "nan"]),
    st.sampled_from(["1e308", "inf", "-0", "0,1", "-1,-2", ",", "0.5", "leaky", "per_channel", "softmax"]),
    st.text(max_size=8),
)
KEYS = st.sampled_from(sorted({key for text in CFGS for _, o in reference.sections(text) for key in o}))
KINDS = st.sampled_from(sorted({kind for text in CFGS for kind, _ in reference.sections(text)}))


def attempt(cfg: str | bytes, weights: bytes) -> Imported | None:
    """The network, or None where it is refused as it should be."""
    with tempfile.TemporaryDirectory() as name:
        paths = Path(name, "net.cfg"), Path(name, "net.weights")
        paths[0].write_bytes(cfg if isinstance(cfg, bytes) else cfg.encode())
        paths[1].write_bytes(weights)
        try:
            return darknet.read(*paths)
        except (ModelFileError, InputError) as error:
            message = str(error)
            assert "net.cfg" in message or "net.weights" in message
            assert "\n" not in message
            assert len(message) < 1000
            return None


@given(st.binary(max_size=400))
def test_random_bytes_as_cfg(content: bytes) -> None:
    attempt(content, PLENTY)
    attempt(b"[net]\nwidth=16\nheight=16\nchannels=3\n" + content, PLENTY)


@given(st.binary(max_size=400))
def test_random_bytes_as_weights(content: bytes) -> None:
    assert attempt(CFG, content) is None


@given(st.data())
def test_changed_lines(data: st.DataObject) -> None:
    lines = data.draw(st.sampled_from(CFGS)).split("\n")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(lines) - 1))
        match data.draw(
            st.sampled_from(["value", "value", "value", "add", "section", "remove", "repeat", "any"])
        ):
            case "value" if "=" in lines[at]:
                lines[at] = f"{lines[at].partition('=')[0]}={data.draw(VALUES)}"
            case "add":
                lines.insert(at, f"{data.draw(KEYS)}={data.draw(VALUES)}")
            case "section":
                lines.insert(at, f"[{data.draw(KINDS)}]")
            case "remove":
                del lines[at]
            case "repeat":
                lines.insert(at, lines[data.draw(st.integers(0, len(lines) - 1))])
            case _:
                lines.insert(at, data.draw(st.text(max_size=20)))
    attempt("\n".join(lines), PLENTY)


@given(st.integers(0, len(WEIGHTS) - 1))
def test_truncated_weights(length: int) -> None:
    assert attempt(CFG, WEIGHTS[:length]) is None


@given(st.binary(min_size=1, max_size=64))
def test_extended_weights(more: bytes) -> None:
    result = attempt(CFG, WEIGHTS + more)
    assert result is not None
    assert any(f"{len(more)} bytes follow the last one" in line for line in result.assumptions)


def flipped(content: bytes, data: st.DataObject) -> bytes:
    changed = bytearray(content)
    for _ in range(data.draw(st.integers(1, 20))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    return bytes(changed)


@given(st.data())
def test_flipped_bits(data: st.DataObject) -> None:
    attempt(CFG, flipped(WEIGHTS, data))
    attempt(flipped(CFG.encode(), data), WEIGHTS)
