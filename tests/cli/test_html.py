"""--html of eval and bench: a page beside what the verb says anyway."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Result
from tests.report.html_reader import Reader, check_self_contained

Run = Callable[..., Result]
QUICK = ("--frames", 8, "--warmup", 1)


def page(path: Path) -> Reader:
    return check_self_contained(path.read_text(encoding="utf-8"))


def texts(found: Reader, tag: str) -> list[str]:
    return [element.text.strip() for element in found.all(tag)]


@pytest.fixture
def dataset(folder: Path, tmp_path: Path) -> Path:
    """A YOLO folder of three good pictures and a damaged one."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    (tmp_path / "classes.txt").write_text("nut\nbolt\nwasher\n")
    for picture in folder.iterdir():
        picture.rename(tmp_path / "images" / picture.name)
        (tmp_path / "labels" / f"{picture.stem}.txt").write_text("1 0.5 0.5 0.3 0.4\n")
    return tmp_path


def test_eval(edgecv: Run, network: Path, dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("hotcoco", reason="AP needs the extra eval")
    out = tmp_path / "accuracy.html"
    result = edgecv("eval", network, dataset, "--threads", 1, "--json", "-", "--html", out)
    assert result.code == 1, "a picture is damaged, and the page is written"
    report = result.json
    assert len(report["curves"]) == 3
    assert f"edgecv: wrote {out}\n" in result.err
    found = page(out)
    assert f"Accuracy of {network}" in texts(found, "h1")
    assert f"{report['AP']:.4f}" in texts(found, "td")
    assert "3.jpg" in found.all("li")[0].text
    assert f"edgecv eval {network} {dataset} --threads 1 --json - --html {out}" in texts(found, "code")[0]


def test_bench(edgecv: Run, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "latency.html"
    result = edgecv("bench", network, *QUICK, "--backend", "onnxruntime", "--json", "-", "--html", out)
    assert result.code == 0, result.err
    assert f"edgecv: wrote {out}\n" in result.err
    found = page(out)
    total = result.json["results"][0]["latency_ms"]["end_to_end"]
    assert f"{total['p50']:.2f}" in texts(found, "td")
    assert "Distribution" in texts(found, "h2")
    assert "--html" in texts(found, "code")[0]


def test_stdout_is_as_without(edgecv: Run, network: Path, dataset: Path, tmp_path: Path) -> None:
    pytest.importorskip("hotcoco", reason="AP needs the extra eval")
    call = ("eval", network, dataset, "--threads", 1)
    plain, with_page = edgecv(*call), edgecv(*call, "--html", tmp_path / "a.html")

    def without_seconds(text: str) -> list[str]:
        return [line for line in text.splitlines() if " s, hotcoco" not in line]

    assert without_seconds(plain.out) == without_seconds(with_page.out)
    assert f"edgecv: wrote {tmp_path / 'a.html'}\n{plain.err}" == with_page.err


def test_bench_where_everything_fails(edgecv: Run, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "latency.html"
    result = edgecv(
        "bench", network, *QUICK, "--backend", "onnxruntime", "--precision", "int8", "--html", out
    )
    assert result.code == 3
    found = page(out)
    assert texts(found, "h2") == ["Failures", "Conditions", "Reproduce"]
    assert "int8" in found.all("li")[0].text


def test_the_command_can_be_pasted(
    edgecv: Run, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "a 'b'"
    folder.mkdir()
    monkeypatch.setenv("EDGECV_MODELS", str(folder))
    out = folder / "<b>.html"
    secret = "rtsp://me:secret@cam/1"
    edgecv("bench", network, *QUICK, "--backend", "onnxruntime", "--source", secret, "--html", out)
    (command,) = texts(page(out), "code")
    words = shlex.split(command)
    assert words[:4] == [f"EDGECV_MODELS={folder}", "edgecv", "bench", str(network)]
    assert words[-2:] == ["--html", str(out)]
    assert "rtsp://me:***@cam/1" in words
    assert "secret" not in out.read_text()


@pytest.mark.parametrize("verb", ["eval", "bench"])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        pytest.param("-", "--html: expected the name of a file, got '-'", id="stdout"),
        pytest.param("", "--html: expected the name of a file, got ''", id="no name"),
        pytest.param("{tmp}/none/a.html", "make the folder first: mkdir -p", id="no such folder"),
        pytest.param("{tmp}", "there is a folder of that name", id="a folder"),
        pytest.param("{network}", "the output would replace the input", id="the model"),
        pytest.param("{data}", "the output would replace the input", id="what is read"),
    ],
)
def test_a_page_that_cannot_be_written_is_refused_at_once(
    edgecv: Run, network: Path, tmp_path: Path, verb: str, name: str, text: str
) -> None:
    data = tmp_path / "instances.json"
    data.write_text(json.dumps({"not": "read"}))
    content = network.read_bytes()
    given = {"eval": (data,), "bench": ("--source", data)}[verb]
    out = name.format(tmp=tmp_path, network=network, data=data)
    result = edgecv(verb, network, *given, "--html", out)
    assert result.code == 2
    assert result.out == ""
    assert result.err.startswith("edgecv: ")
    assert result.err.count("\n") == 1
    assert text in result.err
    assert network.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["instances.json", "tiny.onnx"]


@pytest.mark.parametrize("verb", ["eval", "bench"])
@pytest.mark.parametrize(
    ("words", "text"),
    [
        pytest.param(("--json", "a.x", "--html", "a.x"), "two outputs of one name", id="one name"),
        pytest.param(("--json", "{network}"), "the output would replace the input", id="the model"),
        pytest.param(("--json", "{data}"), "the output would replace the input", id="what is read"),
        pytest.param(("--json", "none/a.json"), "make the folder first: mkdir -p", id="no such folder"),
    ],
)
def test_json_that_cannot_be_written_is_refused_at_once(
    edgecv: Run,
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    verb: str,
    words: tuple[str, ...],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "instances.json"
    data.write_text("not read")
    content = network.read_bytes()
    given = {"eval": (data,), "bench": ("--source", data)}[verb]
    result = edgecv(verb, network, *given, *(word.format(network=network, data=data) for word in words))
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert text in result.err
    assert (network.read_bytes(), data.read_text()) == (content, "not read")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["instances.json", "tiny.onnx"]
