"""What `edgecv models show FILE` tells of any file."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

from edgecv import _isa, load
from edgecv.cli import main
from edgecv.describe import Description, describe, to_lines
from edgecv.drafts import draft
from edgecv.errors import InputError, ModelFileError, ModelNotFoundError
from edgecv.explain import explain_model
from tests.model_files import write_darknet
from tests.networks import tiny_classifier, tiny_yolov8

FOREIGN = "avx2" if "neon" in _isa.usable() else "neon"


def with_loop() -> bytes:
    """A network of an unknown use, with a subgraph, an operator of another domain, and metadata."""
    value = helper.make_tensor_value_info
    inner = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])], "inner", [], [value("y", onnx.TensorProto.FLOAT, None)]
    )
    nodes = [
        helper.make_node("If", ["flag"], ["either"], then_branch=inner, else_branch=inner),
        helper.make_node("Gelu", ["either"], ["out"], domain="com.example"),
        helper.make_node("Add", ["out", "w"], ["sum"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", onnx.TensorProto.FLOAT, ["n", 4]), value("flag", onnx.TensorProto.BOOL, [])],
        [value("sum", onnx.TensorProto.FLOAT, ["n", 4])],
        [onnx.numpy_helper.from_array(np.ones((3, 4), np.float32), "w")],
    )
    opsets = [helper.make_opsetid("", 13), helper.make_opsetid("com.example", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, producer_name="handmade", producer_version="7")
    helper.set_model_props(proto, {"a": "b\n\x1b[31mc"})
    return proto.SerializeToString()  # type: ignore[no-any-return]


def unknown(folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(with_loop())
    return path


def ultralytics(folder: Path) -> Path:
    path = folder / "net.onnx"
    path.write_bytes(tiny_yolov8())
    return path


def with_card(folder: Path) -> Path:
    path = ultralytics(folder)
    draft(path)
    return path


def darknet(folder: Path) -> Path:
    return write_darknet(folder, "net")


def plan(folder: Path) -> Path:
    explain_model(str(ultralytics(folder)), out=folder / "net.ecv")
    return folder / "net.ecv"


def foreign_plan(folder: Path) -> Path:
    path = plan(folder)
    explain_model(str(folder / "net.onnx"), isa=FOREIGN, out=path)
    return path


CASES: dict[str, tuple[Callable[[Path], Path], dict[str, Any], list[str]]] = {
    "unknown": (
        unknown,
        {"format": "onnx", "made_by": "handmade 7", "card": None},
        ["opset      13, com.example 1", "Neg 2, Add 1, If 1, com.example.Gelu 1", "weights    12, fp32",
         "input      x: float32 (n, 4)", "flag: bool ()", "head       none: ", "a: b [31mc"],
    ),
    "Ultralytics": (
        ultralytics,
        {"format": "onnx", "card_from": "drafted from the file", "problem": ""},
        ["task       detect", 'boxes: output "output0", layout "columns"', "labels     3: nut, bolt"],
    ),
    "a card beside": (with_card, {"card_from": "net.model.json"}, ["card       "]),
    "Darknet": (darknet, {"format": "darknet", "made_by": ""}, ["head       grid: layers", "net.weights"]),
    "a plan": (
        plan,
        {"format": "plan", "backend": "simd", "card_from": "the plan", "problem": ""},
        ["isa        ", "made by    edgecv", "input      images: float32 (1, 3, 64, 64)", "head       boxes"],
    ),
    "a plan for another processor": (
        foreign_plan,
        {"format": "plan", "networks": ()},
        [f"isa        {FOREIGN}", "problem    ", f"packed for {FOREIGN}", "head       boxes"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("make", "fields", "lines"), CASES.values(), ids=CASES)
def test_what_is_told(
    tmp_path: Path, make: Callable[[Path], Path], fields: dict[str, Any], lines: list[str]
) -> None:
    found = describe(make(tmp_path))
    for name, value in fields.items():
        if isinstance(value, str) and name == "card_from":
            assert getattr(found, name).endswith(value)
        else:
            assert getattr(found, name) == value
    assert all(file.bytes == Path(file.path).stat().st_size for file in found.files)
    text = "\n".join(to_lines(found))
    for line in lines:
        assert line in text
    assert text.isprintable() or "\x1b" not in text


@pytest.mark.parametrize(
    ("name", "data", "error", "text"),
    [
        ("absent.onnx", None, ModelNotFoundError, "no such file"),
        ("bad.onnx", b"no network", ModelFileError, "bad.onnx"),
        ("bad.ecv", b"no plan", ModelFileError, "bad.ecv"),
        ("a.txt", b"text", InputError, "a.txt"),
        ("net.xml", b"<net/>", InputError, "of OpenVINO: give the ONNX file that it was made from"),
        ("net.trt", b"", InputError, "a TensorRT engine belongs to one machine"),
    ],
)
def test_what_cannot_be_told(
    tmp_path: Path, name: str, data: bytes | None, error: type[Exception], text: str
) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(error, match=text):
        describe(path)


def test_what_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "link.onnx").symlink_to("gone.onnx")
    os.mkfifo(tmp_path / "pipe.onnx")
    with pytest.raises(ModelNotFoundError, match=r"a link to gone\.onnx, which is not there"):
        describe(tmp_path / "link.onnx")
    with pytest.raises(ModelNotFoundError, match=r"a link to gone\.onnx, which is not there"):
        load(tmp_path / "link.onnx")
    with pytest.raises(InputError, match="neither a file nor a folder"):
        describe(tmp_path / "pipe.onnx")
    with pytest.raises(InputError, match=r"; there: link\.onnx, pipe\.onnx"):
        describe(tmp_path)
    with pytest.raises(InputError, match="was the variable ever set"):
        describe("")


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(tiny_classifier())
    assert main(["models", "show", str(path), "--json", "-"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert set(plain) == set(Description.__struct_fields__)
    assert plain["networks"][0]["inputs"][0]["dtype"] == "float32"
    assert main(["models", "show", str(path)]) == 0
    assert "opset" in capsys.readouterr().out
    draft(ultralytics(tmp_path), out=tmp_path / "card.json")
    assert main(["models", "show", str(tmp_path / "card.json"), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "detect"
    (tmp_path / "card.json").rename(tmp_path / "model.json")
    capsys.readouterr()
    assert main(["models", "show", str(tmp_path), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["task"] == "detect"
    assert main(["models", "show", str(tmp_path / "absent.onnx")]) == 2
    (tmp_path / "other.json").write_text("{}")
    assert main(["models", "show", str(tmp_path / "other.json")]) == 2
    assert "no model card" in capsys.readouterr().err
