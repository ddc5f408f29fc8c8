"""The worker's own parts, in process; its dialog is tested through the runner."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from edgecv.bench import protocol, worker
from edgecv.options import LoadOptions


def test_peak_rss_reads_the_high_water_mark_of_this_program(tmp_path: Path) -> None:
    status = tmp_path / "status"
    status.write_text("Name:\tpython\nVmPeak:\t 99 kB\nVmHWM:\t  2048 kB\n")
    assert worker.peak_rss_bytes(status) == 2 << 20


@pytest.mark.parametrize("text", ["", "VmHWM:\n", "VmHWM: soon kB\n"], ids=["absent", "empty", "no number"])
def test_peak_rss_without_the_mark(tmp_path: Path, text: str) -> None:
    status = tmp_path / "status"
    status.write_text(text)
    assert worker.peak_rss_bytes(status) > 1 << 20


def test_peak_rss_is_not_the_parents() -> None:
    code = (
        "import subprocess, sys; ballast = bytearray(300 << 20);"
        "subprocess.run([sys.executable, '-c', "
        "'from edgecv.bench.worker import peak_rss_bytes; print(peak_rss_bytes())'], check=True)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 300 << 20


@pytest.mark.parametrize(
    "command",
    [
        protocol.Load(
            loader="edgecv.api:load_with",
            model="net.onnx",
            options=LoadOptions(backend="simd", threads=2, imgsz=64, mean=(1, 2, 3), warmup=False),
            settings={"conf": 0.5, "classes": ["a", 1]},
            batch=4,
            streams=2,
            source=None,
            frame_wh=(8, 4),
            cpus=(0, 1),
        ),
        protocol.WarmUp(frames=3, seconds=1.5),
        protocol.Measure(frames=3, seconds=1.5, settle=0),
        protocol.Finish(),
    ],
    ids=lambda command: type(command).__name__,
)
def test_commands_travel_as_one_line(command: protocol.Command) -> None:
    line = protocol.to_line(command)
    assert line.count(b"\n") == 1
    assert protocol.command_from_json(line) == command


@pytest.mark.parametrize("stages", [3, 5, 12])
def test_a_full_turn_fits_in_a_line(stages: int) -> None:
    samples = [123456.789012345] * protocol.MAX_TURN_FRAMES
    measured = protocol.Measured(
        stages={f"stage {i}": samples for i in range(stages)},
        end_to_end=samples,
        wall_s=1.0,
        cpu_s=1.0,
        waiting_cpu_s=1.0,
    )
    line = protocol.to_line(measured)
    assert len(line) <= protocol.MAX_LINE_BYTES
    reply = protocol.reply_from_json(line)
    assert reply == measured
    assert isinstance(reply, protocol.Measured)
    assert list(reply.stages) == list(measured.stages), "in their order"


def test_a_stranger_on_the_pipe_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgecv.bench.worker"], input=b"hello\n", capture_output=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"not a command" in done.stderr


def test_a_worker_ends_with_its_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "edgecv.bench.worker"], input=b"", capture_output=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    ("cpu_s", "steps"),
    [
        pytest.param([0.0, 0.0], 1, id="at rest"),
        pytest.param([0.0, 0.02, 0.04, 0.0401], 3, id="two threads spin, then sleep"),
        pytest.param([0.0] + [0.01 * i for i in range(1, 1000)], 100, id="one that never rests"),
    ],
)
def test_coming_to_rest(cpu_s: list[float], steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds

    readings = iter(cpu_s)
    clock = SimpleNamespace(perf_counter=lambda: now, process_time=lambda: next(readings), sleep=sleep)
    monkeypatch.setattr(worker, "time", clock)
    assert worker.come_to_rest() == cpu_s[steps]
    assert now == pytest.approx(steps * worker.REST_STEP_S)
