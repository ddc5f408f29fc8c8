from __future__ import annotations

import io
import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgecv
from edgecv.errors import InputError, OutputError
from edgecv.media import JsonLinesSink


def run_script(script: str, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(edgecv.__file__).parents[1])}
    return subprocess.run(
        [sys.executable, "-c", "from edgecv.media import JsonLinesSink\n" + script, *arguments],
        text=True,
        env=environment,
        **options,
    )


def test_a_file_appears_when_it_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")
    with JsonLinesSink(target) as sink:
        sink.write({"a": 1})
        sink.write({"b": "grün"})
        assert target.read_text() == "old"
    assert target.read_text(encoding="utf-8") == '{"a":1}\n{"b":"grün"}\n'
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert sink.written == 2


def test_no_line_is_an_empty_file(tmp_path: Path) -> None:
    with JsonLinesSink(tmp_path / "out.jsonl"):
        pass
    assert (tmp_path / "out.jsonl").read_bytes() == b""


@pytest.mark.parametrize(("error", "is_there"), [(ZeroDivisionError, False), (KeyboardInterrupt, True)])
def test_an_exception_aborts_and_an_interrupt_closes(
    tmp_path: Path, error: type[BaseException], is_there: bool
) -> None:
    def run() -> None:
        with JsonLinesSink(tmp_path / "out.jsonl") as sink:
            sink.write({"a": 1})
            raise error

    with pytest.raises(error):
        run()
    assert [path.name for path in tmp_path.iterdir()] == (["out.jsonl"] if is_there else [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(np.array([[1.5, 2.0]], np.float32), [[1.5, 2.0]], id="array"),
        pytest.param(np.float32(0.5), 0.5, id="float32"),
        pytest.param(np.int32(7), 7, id="int32"),
        pytest.param(np.bool_(True), True, id="bool"),
        pytest.param(Path("a/b"), "a/b", id="path"),
        pytest.param([float("nan"), float("inf"), np.float32("nan")], [None, None, None], id="not finite"),
        pytest.param(np.array([np.nan, 1]), [None, 1.0], id="array with nan"),
        pytest.param("two\nlines\u2028", "two\nlines\u2028", id="line ends"),
    ],
)
def test_values(tmp_path: Path, value: Any, expected: Any) -> None:
    with JsonLinesSink(tmp_path / "out.jsonl") as sink:
        sink.write({"value": value})
    (line,) = (tmp_path / "out.jsonl").read_bytes().decode("utf-8").rstrip("\n").split("\n")
    assert json.loads(line) == {"value": expected}


@pytest.mark.parametrize(
    "value", [object(), {1, 2}.__iter__(), "\ud800"], ids=["object", "iterator", "surrogate"]
)
def test_what_json_cannot_hold(tmp_path: Path, value: Any) -> None:
    with (
        pytest.raises(InputError, match="a record cannot be written as JSON"),
        JsonLinesSink(tmp_path / "a") as sink,
    ):
        sink.write({"value": value})
    assert list(tmp_path.iterdir()) == []


def test_stdout(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with JsonLinesSink("-") as sink:
        sink.write({"a": "grün"})
        assert capfdbinary.readouterr().out == '{"a":"grün"}\n'.encode()


def test_stdout_without_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.StringIO()
    monkeypatch.setattr(sys, "stdout", text)
    with JsonLinesSink("-") as sink:
        sink.write({"a": 1})
    assert text.getvalue() == '{"a":1}\n'


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    script = (
        "import sys\n"
        "with JsonLinesSink('-') as sink:\n"
        "    n = 0\n"
        "    while not sink.is_broken:\n"
        "        sink.write({'n': n}); n += 1\n"
        "    sink.write({'late': 1})\n"
        "print('more')\n"
    )
    reader, writer = os.pipe()
    thread = threading.Thread(target=lambda: (os.read(reader, 20), os.close(reader)))
    thread.start()
    with os.fdopen(writer, "wb") as stdout:
        run = run_script(script, stdout=stdout, stderr=subprocess.PIPE)
    thread.join()
    assert run.returncode == 0
    assert run.stderr == ""


def test_full_stdout_is_an_error() -> None:
    script = (
        "import os, sys\n"
        "from edgecv.errors import OutputError\n"
        "try: JsonLinesSink('-').write({'a': 1})\n"
        "except OutputError as error: sys.stderr.write(str(error)); sys.stderr.flush(); os._exit(0)\n"
    )
    with Path("/dev/full").open("wb") as full:
        run = run_script(script, stdout=full, stderr=subprocess.PIPE, check=True)
    assert run.stderr == "stdout: cannot be written: No space left on device; choose another place"


@pytest.mark.parametrize(
    ("name", "kind", "reason"),
    [
        ("", InputError, "got an empty name"),
        ("{}/file/a", OutputError, "Not a directory"),
        ("{}/no/a", OutputError, "No such file or directory; make the folder first"),
        ("{}", OutputError, "there is a folder of that name"),
        ("/proc/a", OutputError, "No such file or directory"),
    ],
)
def test_unwritable_places(tmp_path: Path, name: str, kind: type[Exception], reason: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(kind, match=reason):
        JsonLinesSink(name.replace("{}", str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_input_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    with pytest.raises(InputError, match="would replace the input"):
        JsonLinesSink(tmp_path / "a.jpg", inputs=[tmp_path / "a.jpg"])


def test_devices_are_written_directly() -> None:
    with JsonLinesSink("/dev/null") as sink:
        sink.write({"a": 1})
    assert not Path("/dev/null").is_file()
    with (
        pytest.raises(OutputError, match="/dev/full: cannot be written: No space left"),
        JsonLinesSink("/dev/full") as sink,
    ):
        sink.write({"a": 1})


def test_full_disk(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    target.write_text("old")

    def run() -> None:
        with JsonLinesSink(target) as sink:
            for i in range(20_000):
                sink.write({"i": i})

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        with pytest.raises(OutputError, match="File too large"):
            run()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_full_disk_noticed_at_the_end(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OutputError, match="File too large"), JsonLinesSink(tmp_path / "a") as sink:
            sink.write({"text": "x" * 200})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_named_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    got: list[str] = []
    thread = threading.Thread(target=lambda: got.append(path.read_text()))
    thread.start()
    with JsonLinesSink(path) as sink:
        sink.write({"a": 1})
    thread.join()
    assert got == ['{"a":1}\n']


def test_a_named_pipe_whose_reader_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.open("rb").close())
    thread.start()
    with JsonLinesSink(path) as sink:
        thread.join()
        sink.write({"a": 1})
        assert sink.is_broken
    assert sink.written == 0


def test_close_and_abort_may_be_repeated(tmp_path: Path) -> None:
    sink = JsonLinesSink(tmp_path / "a")
    sink.write({"a": 1})
    sink.close()
    sink.close()
    sink.abort()
    assert (tmp_path / "a").read_text() == '{"a":1}\n'
