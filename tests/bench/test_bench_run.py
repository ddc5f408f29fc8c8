"""Whole benchmarks over a fake backend: turns, figures, and every way a worker can fail."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgecv import backends, bench
from edgecv.bench import END_TO_END, runner
from edgecv.errors import InputError
from edgecv.options import LoadOptions
from tests.bench import bench_fakes

HERE = Path(__file__).parent
STAGES = ["preprocess", "inference", "postprocess", END_TO_END]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "log"
    monkeypatch.setenv(bench_fakes.LOG, str(path))
    yield path
    for line in read(path, "load"):
        with pytest.raises(ProcessLookupError):
            os.kill(int(line[1]), 0)


def read(path: Path, kind: str) -> list[list[str]]:
    """The fields after `kind` of each line that starts with it."""
    lines = (line.split(" ") for line in path.read_text().splitlines())
    return [line[1:] for line in lines if line[0] == kind]


def config(*backends: str, **changes: Any) -> bench.BenchConfig:
    values: dict[str, Any] = {
        "models": ("fake.onnx",),
        "twin": False,
        "backends": backends,
        "threads": (1,),
        "frames": 6,
        "turn": 3,
        "settle": 1,
        "warmup": 2,
        "frame_wh": (8, 4),
        "timeout_s": 60.0,
        "loader": "tests.bench.bench_fakes:load",
    }
    return bench.BenchConfig(**(values | changes))


def test_figures_of_each_stage(log: Path) -> None:
    report = bench.run(config("fake", threads=(1, 2)))
    assert report.exit_code == 0
    assert [(result.backend, result.threads) for result in report.results] == [("fake", 1), ("fake", 2)]
    for result in report.results:
        assert result.error is None
        assert result.latency_ms is not None
        assert list(result.latency_ms) == STAGES
        assert {summary.n for summary in result.latency_ms.values()} == {6}
        assert result.latency_ms["preprocess"].mean == 1.0
        # Warm-up takes calls 1 and 2; of each turn the first call only settles.
        assert result.latency_ms["inference"].min == 2.004
        assert result.latency_ms["inference"].max == 2.010
        assert result.latency_ms["postprocess"].p90 == 3.0
        assert result.latency_ms["postprocess"].p99 is None, "of six samples"
        assert result.latency_ms[END_TO_END].p99_9 is None
        assert result.latency_ms[END_TO_END].min > 0
        assert result.placement is not None
        assert result.placement["threads"] == result.threads
        assert result.placement["backend"] == "fake-fake"
        assert result.peak_rss_bytes is not None
        assert result.peak_rss_bytes > 1 << 20
        assert result.load_ms is not None
        assert result.first_frame_ms is not None
        assert result.cpu_ms_per_frame is not None
        assert result.waiting_cpu_ms is not None
    assert report.frame == bench.FrameInfo(source=None, count=1, width=8, height=4)
    assert report.machine["cpu"]["usable"] >= 1
    assert {line[2] for line in read(log, "frame")} == {"4x8x3"}


def test_the_loader_gets_what_was_asked(log: Path) -> None:
    options = LoadOptions(
        device="cuda:0",
        precision="fp16",
        imgsz=(640, 480),
        weights="w.bin",
        labels="names.txt",
        mean=(1.5, 2, 3),
        cache=False,
    )
    assert options.warmup, "which the benchmark does itself"
    bench.run(config("fake", options=options, settings={"conf": 0.3, "classes": ["a", 1]}, threads=(3,)))
    (line,) = read(log, "load")
    asked = " ".join(line[2:])
    for text in (
        "fake.onnx",
        "('backend', 'fake')",
        "('device', 'cuda:0')",
        "('precision', 'fp16')",
        "('imgsz', (640, 480))",
        "('weights', 'w.bin')",
        "('labels', 'names.txt')",
        "('mean', (1.5, 2.0, 3.0))",
        "('cache', False)",
        "('threads', 3)",
        "('warmup', False)",
        "[('classes', ['a', 1]), ('conf', 0.3)]",
    ):
        assert text in asked


def test_stages_of_another_pipeline_come_by_their_own_names() -> None:
    three, four = bench.run(config("fake", "four")).results
    assert three.latency_ms is not None
    assert list(three.latency_ms) == STAGES
    assert four.latency_ms is not None
    assert list(four.latency_ms) == [*bench_fakes.FOUR, END_TO_END]
    for stage, ms in bench_fakes.FOUR.items():
        assert four.latency_ms[stage] == bench.statistics.summarize([ms] * 6)
    assert four.latency_ms[END_TO_END].n == 6
    assert four.error is None
    plain, other = (msgspec.structs.asdict(result) for result in (three, four))
    assert {name for name, value in plain.items() if value is None} == {
        name for name, value in other.items() if value is None
    }, "the rest is told as ever"


def test_a_stage_that_begins_late_stands_before_the_whole() -> None:
    (result,) = bench.run(config("late", settle=0)).results
    assert result.latency_ms is not None
    assert list(result.latency_ms) == [*STAGES[:-1], "again", END_TO_END]
    assert result.latency_ms["again"].n == 2, "of the frames that had it"
    assert result.latency_ms[END_TO_END].n == 6


def test_workers_take_turns_and_the_order_rotates(log: Path) -> None:
    bench.run(config("fake", "fake", "fake", frames=9))
    pids = [line[1] for line in read(log, "load")]
    assert len(set(pids)) == 3, "a process for each"
    frames = [pids.index(line[1]) for line in read(log, "frame")]
    turns = [(0, 1, 2), (1, 2, 0), (2, 0, 1)]
    expected = [lane for lane in (0, 1, 2) for _ in range(2)]
    expected += [lane for turn in turns for lane in turn for _ in range(4)]
    assert frames == expected


def test_streams_take_frames_side_by_side(log: Path) -> None:
    report = bench.run(config("fake", hint="throughput", threads=(1, 3)))
    assert report.exit_code == 0
    loads, clones = read(log, "load"), read(log, "clone")
    assert len(loads) == 2, "each loads once"
    assert len({line[1] for line in loads}) == 2
    assert [line[1] for line in clones] == [loads[1][1]] * 2, "streams share a process"
    assert all("('threads', 1)" in " ".join(line) for line in loads)
    for result in report.results:
        assert result.streams == result.threads
        assert result.frames_per_s is not None
        assert result.frames_per_s > 0
        assert result.latency_ms is not None
        assert result.latency_ms[END_TO_END].n == 6
    # Of each stream: two frames to warm up, and one a turn that settles; the samples are shared out.
    frames = read(log, "frame")
    assert len(frames) == (2 + 2 + 6) + (3 * 2 + 3 * 2 + 6)
    for load, streams in zip(loads, (1, 3), strict=True):
        own = [line for line in frames if line[1] == load[1]]
        assert len({line[4] for line in own}) == streams, "each stream has a pipeline of its own"
        assert len({line[3] for line in own}) == 1, "and all have the same weights"


@pytest.mark.skipif("simd" not in backends.usable(), reason="simd is not usable here")
def test_streams_of_a_real_model(log: Path) -> None:
    several = config(
        "simd",
        models=("parts-nano",),
        hint="throughput",
        threads=(2,),
        options=LoadOptions(cache=False),
        settings={"conf": 0.5},
        frame_wh=(96, 64),
        loader="tests.bench.bench_fakes:load_real",
    )
    report = bench.run(several)
    (result,) = report.results
    assert result.error is None
    assert report.exit_code == 0
    assert len(read(log, "load")) == 1
    assert result.streams == 2
    assert result.placement is not None
    assert result.placement["backend"] == "simd"
    assert result.placement["threads"] == 1, "of one stream"
    assert result.latency_ms is not None
    assert list(result.latency_ms) == STAGES
    assert {summary.n for summary in result.latency_ms.values()} == {6}


def test_by_default_the_model_is_loaded_as_anywhere(tmp_path: Path) -> None:
    absent = str(tmp_path / "nowhere.onnx")
    report = bench.run(config(None, models=(absent,), loader=bench.BenchConfig(models=(absent,)).loader))  # type: ignore[arg-type]
    assert "nowhere.onnx" in (report.results[0].error or "")
    assert report.exit_code == 2


@pytest.mark.parametrize("backend", ["raise", "untimed"])
def test_a_stream_that_fails(log: Path, backend: str) -> None:
    (result,) = bench.run(config(backend, hint="throughput", threads=(2,))).results
    assert result.error is not None
    assert result.latency_ms is None


def pictures(folder: Path, *sizes_wh: tuple[int, int]) -> Path:
    cv2 = pytest.importorskip("cv2")
    folder.mkdir()
    for i, (width, height) in enumerate(sizes_wh):
        assert cv2.imwrite(str(folder / f"{i}.png"), np.zeros((height, width, 3), np.uint8))
    return folder


def test_frames_of_a_source_take_turns_too(log: Path, tmp_path: Path) -> None:
    folder = pictures(tmp_path / "source", (8, 4), (5, 7), (6, 6))
    report = bench.run(config("fake", source=str(folder)))
    assert report.frame == bench.FrameInfo(source=str(folder), count=3, width=8, height=4)
    shapes = [line[2] for line in read(log, "frame")]
    assert shapes[:4] == ["4x8x3", "7x5x3", "6x6x3", "4x8x3"]


@pytest.mark.parametrize(
    ("name", "text"),
    [("missing.jpg", "no such file"), ("bad.png", "not a readable image"), ("empty", "image")],
)
def test_a_source_that_cannot_be_used_is_bad_input(tmp_path: Path, name: str, text: str) -> None:
    pytest.importorskip("cv2")
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (tmp_path / "empty").mkdir()
    report = bench.run(config("fake", source=str(tmp_path / name)))
    assert text in (report.results[0].error or "")
    assert report.frame is None
    assert report.exit_code == 2


def test_a_time_limit_ends_with_fewer_samples() -> None:
    report = bench.run(config("fake", seconds=1e-9))
    assert report.results[0].latency_ms is not None
    assert report.results[0].latency_ms[END_TO_END].n == 1
    assert report.exit_code == 0


def test_progress() -> None:
    seen: list[tuple[int, int]] = []
    bench.run(config("fake", "raise"), progress=lambda done, wanted: seen.append((done, wanted)))
    assert seen[-1] == (6, 12)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


FAILURES = [
    pytest.param("unavailable", "not usable here", "BackendUnavailableError", 3, id="unavailable"),
    pytest.param("notfound", "fake.onnx: no such file", "ModelNotFoundError", 2, id="bad input"),
    pytest.param("raise", "the fake failed on purpose", "BackendError", 1, id="raises while measured"),
    pytest.param("untimed", "no timing", "BackendError", 1, id="no timing"),
    pytest.param("crash", "signal SIGABRT", "crash", 1, id="crashes while measured"),
    pytest.param("exit", "exit code 7 while it loaded the model", "crash", 1, id="exits while loading"),
]


@pytest.mark.parametrize(("backend", "text", "error_type", "alone"), FAILURES)
def test_a_failure_is_a_line_and_the_others_stay(
    log: Path, backend: str, text: str, error_type: str, alone: int
) -> None:
    report = bench.run(config(backend, "fake"))
    failed, good = report.results
    assert failed.error is not None
    assert text in failed.error
    assert "\n" not in failed.error
    assert failed.error_type == error_type
    assert failed.latency_ms is None
    assert good.error is None
    assert good.latency_ms is not None
    assert good.latency_ms[END_TO_END].n == 6
    assert report.exit_code == 1
    assert (
        bench.BenchReport.exit_code.fget(  # type: ignore[attr-defined]
            msgspec.structs.replace(report, results=(failed,))
        )
        == alone
    )


def test_the_name_of_a_backend_is_told_once(log: Path) -> None:
    report = bench.run(config("fake"))
    failed = msgspec.structs.replace(report.results[0], latency_ms=None, error="fake: it broke")
    report = msgspec.structs.replace(report, results=(failed,))
    assert any(line.startswith("fake, 1 thread: it broke") for line in bench.to_lines(report))
    assert [error for _, error, _ in bench.failures(report)] == ["it broke"]


def test_a_crash_carries_the_last_words(log: Path) -> None:
    report = bench.run(config("crash"))
    assert report.results[0].error is not None
    assert report.results[0].error.endswith("about to abort")


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize(
    ("backend", "when"),
    [("hang", "while it was measured"), ("hang-at-load", "while it loaded the model")],
)
def test_a_hung_worker_is_killed_and_reported(log: Path, backend: str, when: str) -> None:
    limits = {"timeout_s": 4.0, "seconds": 0.1, "warmup": 1}
    report = bench.run(config(backend, "fake", **limits))
    hung, good = report.results
    assert hung.error_type == "timeout"
    assert hung.error is not None
    assert f"s {when}: killed" in hung.error
    assert good.error is None


def test_chatter_does_not_corrupt_the_dialog(capfd: pytest.CaptureFixture[str]) -> None:
    report = bench.run(config("chatter"))
    assert report.results[0].error is None
    out, err = capfd.readouterr()
    assert (out, err) == ("", ""), "and the parent's own streams stay clean"


@pytest.mark.parametrize(
    ("code", "text"),
    [
        pytest.param("print('garbage')", "is damaged", id="not json"),
        pytest.param("print('x' * (3 << 20))", "is damaged", id="a line without end"),
        pytest.param(
            """print('{"type":"Finished","peak_rss_bytes":1}')""", "is a Finished", id="the wrong answer"
        ),
        pytest.param("os.close(1); time.sleep(600)", "closed its pipe", id="silent"),
    ],
)
def test_a_worker_that_breaks_the_protocol(code: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "BOOTSTRAP", f"import os, sys, time; sys.stdin.readline(); {code}")
    monkeypatch.setattr(runner, "EXIT_GRACE_S", 0.1)
    report = bench.run(config("fake"))
    assert text in (report.results[0].error or "")
    assert report.results[0].error_type == "crash"


def test_a_worker_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    report = bench.run(config("fake"))
    assert "cannot be started" in (report.results[0].error or "")


def test_an_unknown_loader_is_a_line() -> None:
    report = bench.run(config("fake", loader="no_such_module_here:load"))
    assert "no_such_module_here" in (report.results[0].error or "")
    assert report.exit_code == 1


def test_pinning(log: Path) -> None:
    first = min(os.sched_getaffinity(0))
    report = bench.run(config("affinity", pin=(first,)))
    assert report.results[0].cpus == (first,)
    assert read(log, "affinity") == [[f"[{first}]"]]


def test_pinning_to_a_processor_that_is_not_there() -> None:
    report = bench.run(config("fake", pin=(4095,)))
    assert "pin: cannot run on processors [4095]" in (report.results[0].error or "")
    assert report.exit_code == 2


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        pytest.param({"backends": ()}, "backends", id="no backend"),
        pytest.param({"threads": ()}, "threads", id="no thread count"),
        pytest.param({"threads": (0,)}, "threads: expected at least 1, got 0", id="no threads"),
        pytest.param(
            {"options": LoadOptions(backend="simd")}, "options.backend: expected None", id="backend twice"
        ),
        pytest.param(
            {"options": LoadOptions(threads=2)}, "options.threads: expected None", id="threads twice"
        ),
        pytest.param({"hint": "speed"}, "hint: expected latency or throughput", id="no such hint"),
        pytest.param({"hint": "throughput", "threads": (None,)}, "hint: throughput needs", id="streams"),
        pytest.param({"frames": 0}, "frames: expected at least 1", id="no frames"),
        pytest.param({"warmup": 0}, "warmup", id="no warm-up"),
        pytest.param({"turn": 0}, "turn", id="no turn"),
        pytest.param({"turn": 5001}, "turn: expected at most 5000", id="turn too long for a line"),
        pytest.param({"settle": -1}, "settle", id="negative settle"),
        pytest.param({"seconds": 0.0}, "seconds", id="no time"),
        pytest.param({"seconds": float("nan")}, "seconds", id="nan time"),
        pytest.param({"timeout_s": float("inf")}, "timeout_s", id="endless timeout"),
        pytest.param({"frame_wh": (0, 10)}, "frame_wh", id="empty frame"),
        pytest.param({"source": "-"}, "source", id="stdin"),
        pytest.param({"pin": (0, 0), "threads": (2,)}, "pin", id="a processor twice"),
        pytest.param(
            {"pin": (0,), "threads": (2,)}, "pin: expected a processor for each", id="too few processors"
        ),
        pytest.param({"models": ()}, "models: expected at least one", id="no model"),
        pytest.param({"batches": (1, 0)}, "batches: expected 1 to 1024, got 0", id="an empty batch"),
        pytest.param(
            {"models": ("a", "b"), "options": LoadOptions(weights="w")}, "weights: of one", id="whose weights"
        ),
    ],
)
def test_a_config_that_makes_no_sense(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        bench.run(config("fake", **changes))


@pytest.mark.parametrize(
    ("text", "cpus"),
    [("0", (0,)), ("0,2-4", (0, 2, 3, 4)), (" 3 , 1 ", (3, 1))],
)
def test_parse_cpus(text: str, cpus: tuple[int, ...]) -> None:
    assert bench.parse_cpus(text) == cpus


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "4-2", "1,,2", "0-9999999999"])
def test_parse_cpus_refuses(text: str) -> None:
    with pytest.raises(InputError, match="pin: expected processors such as"):
        bench.parse_cpus(text)


def test_an_interrupt_ends_the_workers(log: Path) -> None:
    def interrupt(done: int, wanted: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bench.run(config("fake", "fake"), progress=interrupt)
    assert len(read(log, "load")) == 2


def test_ctrl_c_from_a_terminal(log: Path) -> None:
    code = (
        f"import sys; sys.path.insert(0, {str(HERE)!r})\n"
        "from edgecv import bench\n"
        "bench.run(bench.BenchConfig(models=('m',), backends=('fake', 'hang'), threads=(1,), "
        "frame_wh=(8, 4), loader='tests.bench.bench_fakes:load'))"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", code], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    limit = time.monotonic() + 60
    while not log.exists() or len(read(log, "frame")) < 6:
        assert time.monotonic() < limit
        assert parent.poll() is None
        time.sleep(0.01)
    os.killpg(parent.pid, signal.SIGINT)
    _, err = parent.communicate(timeout=60)
    assert "KeyboardInterrupt" in err
    assert "bench_fakes" not in err, "no traceback of a worker"


def test_report_is_json_and_comes_back() -> None:
    options = LoadOptions(imgsz=(8, 16), mean=(1, 2, 3))
    report = bench.run(config("fake", "unavailable", options=options, settings={"conf": 0.5}))
    plain = report.as_dict()
    assert json.loads(json.dumps(plain)) == json.loads(msgspec.json.encode(report))
    assert plain["schema"] == 3
    assert plain["config"]["settings"] == {"conf": 0.5}
    assert list(plain["config"]["options"]["imgsz"]) == [8, 16]
    stages = plain["results"][0]["latency_ms"]
    assert list(stages) == ["preprocess", "inference", "postprocess", "end_to_end"]
    assert set(stages["end_to_end"]) == {"n", "min", "mean", "p50", "p90", "p99", "p99.9", "max"}
    assert stages["end_to_end"]["p99.9"] is None
    assert plain["results"][1]["error"]
    assert msgspec.convert(json.loads(json.dumps(plain)), bench.BenchReport) == report


def test_table(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    report = bench.run(config("fake", "unavailable", models=("[red]m",)))
    Console(width=80).print(bench.to_table(report))
    table = capsys.readouterr().out
    for text in ("fake, 1 thread", "end to end", "p99.9", "2.004"):
        assert text in table
    assert "…" not in table
    lines = "\n".join(bench.to_lines(report))
    for text in ("[red]m", "never is", "synthetic frame, 8x4", "peak"):
        assert text in lines


def test_the_table_has_each_result_s_own_stages(capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    table = bench.to_table(bench.run(config("fake", "four")))
    Console(width=80).print(table)
    assert "…" not in capsys.readouterr().out
    names, *figures = ([str(cell) for cell in column.cells] for column in table.columns)
    assert [name.removeprefix("[bold]").removesuffix("[/bold]") for name in names] == [
        "fake, 1 thread",
        "  preprocess",
        "  inference",
        "  postprocess",
        "  end to end",
        "four, 1 thread",
        "  prepare",
        "  find regions",
        "  read regions",
        "  join",
        "  end to end",
    ]
    medians = figures[bench.tables.FIGURES.index("p50")]
    assert medians[6:10] == [f"{ms:.3f}" for ms in bench_fakes.FOUR.values()]
    assert [row.end_section for row in table.rows] == [name == "  end to end" for name in names]
