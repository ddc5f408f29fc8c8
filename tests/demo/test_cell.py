"""The demo: what it writes, what it says, and that it does not look away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgecv import api, backends, child, evaluate, scenes
from edgecv.demo import cell, page
from edgecv.demo.cell import BackendOutcome, Demo, DemoConfig
from edgecv.errors import BackendError, InputError, MediaError, MissingExtraError, OutputError
from edgecv.options import LoadOptions
from edgecv.report import to_html

pytest.importorskip("cv2", reason="the demo's pictures need the extra opencv")

if not backends.usable():
    pytest.skip("no backend is usable here", allow_module_level=True)


ONE_THREAD = LoadOptions(threads=1)


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, int, int]]:
    """What the demo told of its progress."""
    return []


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]) -> Demo:
    out = tmp_path_factory.mktemp("demo") / "deep" / "er"
    config = DemoConfig(out=out, frames=3, options=ONE_THREAD, seconds=0.2)
    return cell.run(config, progress=lambda *step: steps.append(step))


def test_files(demo: Demo) -> None:
    out = Path(demo.report.out)
    names = ["000000.png", "000001.png", "000002.png"]
    assert sorted(path.name for path in (out / "belt").iterdir()) == [*names, "instances.json"]
    assert sorted(path.name for path in (out / "annotated").iterdir()) == names
    assert len(evaluate.open_dataset(str(out / "belt"))) == 3


def test_every_usable_backend_finds_the_parts(demo: Demo) -> None:
    report = demo.report
    assert [outcome.backend for outcome in report.outcomes] == backends.usable()
    assert [result.backend for result in report.latency.results] == backends.usable()
    for outcome in report.outcomes:
        assert outcome.problem is None
        assert outcome.found is not None
        assert outcome.found >= 10
    assert report.exit_code == 0


def test_progress_of_each_backend(demo: Demo, steps: list[tuple[str, int, int]]) -> None:
    ticks = [(1, 3), (2, 3), (3, 3)]
    told = {name: [step[1:] for step in steps if step[0] == name] for name, _, _ in steps}
    assert told["rendering the belt"] == ticks
    assert told["detecting"] == ticks * len(backends.usable())
    if demo.report.no_AP is None:
        assert told["scoring"] == ticks * len(backends.usable())
    assert told["measuring"]


def test_options_reach_every_load(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [result.threads for result in demo.report.latency.results] == [1] * len(backends.usable())
    first = backends.usable()[0]
    options = LoadOptions(threads=1, cache=False)
    asked: list[LoadOptions] = []

    def load(model: str, options: LoadOptions, **others: Any) -> Any:
        asked.append(options)
        return api.load_with(model, options, **others)

    monkeypatch.setattr(cell, "load_with", load)
    done = cell.run(DemoConfig(out=tmp_path, frames=1, backends=(first,), options=options, seconds=0.2))
    assert asked
    assert all(one == msgspec.structs.replace(options, backend=first) for one in asked)
    measured = done.report.latency.config
    assert measured.options == msgspec.structs.replace(options, threads=None)
    assert (measured.backends, measured.threads) == ((first,), (1,))


def test_page_and_table(demo: Demo) -> None:
    html = to_html(page.to_page(demo, command="edgecv demo"))
    assert html.count("<img") == 3
    assert all(name in html for name in backends.usable())
    assert "edgecv demo" in html
    lines = page.to_lines(demo.report)
    assert not any("expected" in line for line in lines)
    assert page.to_table(demo.report).row_count == len(backends.usable())
    assert page.latency_chart(demo) is not None


def test_json(demo: Demo) -> None:
    plain = msgspec.json.decode(msgspec.json.encode(demo.report.as_dict()))
    assert plain["outcomes"][0]["found"] == demo.report.outcomes[0].found
    assert set(plain) >= {"model", "outcomes", "latency", "files", "unusable", "no_AP"}


def outcome(demo: Demo, **fields: object) -> BackendOutcome:
    return msgspec.structs.replace(demo.report.outcomes[0], **fields)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"found": 5, "missed": 5, "false": 0}, "at least 90% found, got 5 of 10"),
        ({"found": 10, "missed": 0, "false": 3}, "at most 10% false, got 3 of 13"),
        ({"found": 0, "missed": 0, "false": 0}, "no part"),
        ({"found": 10, "missed": 0, "false": 0, "evaluation": None}, None),
    ],
)
def test_a_backend_that_finds_too_little(demo: Demo, fields: dict[str, object], problem: str | None) -> None:
    (judged,) = cell.compared([outcome(demo, **fields)])
    assert (judged.problem is None) if problem is None else problem in (judged.problem or "")


def test_a_backend_that_differs_from_the_first(demo: Demo) -> None:
    pytest.importorskip("hotcoco", reason="AP needs the extra eval")
    report = demo.report.outcomes[0].evaluation
    assert report is not None
    assert report.AP is not None
    other = msgspec.structs.replace(report, AP=report.AP - 0.02)
    first, second = cell.compared([outcome(demo), outcome(demo, backend="other", evaluation=other)])
    assert first.problem is None
    assert second.problem is not None
    assert "as the first backend has" in second.problem


def test_a_backend_that_fails_is_told(demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise BackendError("opencv: it broke")

    monkeypatch.setattr(cell, "load_with", broken)
    done = cell.run(DemoConfig(out=tmp_path, frames=1, backends=(backends.usable()[0],), seconds=0.2))
    assert done.report.exit_code == 1
    assert done.report.outcomes[0].problem == "opencv: it broke"
    assert "it broke" in to_html(page.to_page(done, command=""))
    assert any("it broke" in line for line in page.to_lines(done.report))


def test_a_library_that_ends_its_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guests = [name for name in backends.usable() if backends.BACKENDS[name].is_guest]
    if not guests:
        pytest.skip("no library of others is usable here")
    call = child.call
    monkeypatch.setattr(child, "call", lambda _, *args, heard, **named: call("os:abort", **named))
    done = cell.run(DemoConfig(out=tmp_path, frames=1, backends=("simd", guests[0]), seconds=0.2))
    assert done.report.exit_code == 1
    first, second = done.report.outcomes
    assert first.problem is None
    assert (second.problem or "").startswith(f"{guests[0]}: its process was ended by signal SIGABRT while")
    (line,) = [line for line in page.to_lines(done.report) if "SIGABRT" in line]
    assert line.count(f"{guests[0]}:") == 1


def test_a_picture_of_the_belt_that_cannot_be_read_ends_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = scenes.write_coco

    def write_badly(folder: Path, *others: Any, **named: Any) -> scenes.CocoReport:
        written = write(folder, *others, **named)
        (folder / "000001.png").write_bytes(b"not a picture")
        return written

    monkeypatch.setattr(scenes, "write_coco", write_badly)
    with pytest.raises(MediaError, match=r"000001\.png"):
        cell.run(DemoConfig(out=tmp_path, frames=3, backends=(backends.usable()[0],), options=ONE_THREAD))


def test_fewer_frames_than_before_in_the_same_folder(tmp_path: Path) -> None:
    others = [tmp_path / "annotated" / name for name in ("1.png", "001000.png")]
    for other in others:
        other.parent.mkdir(exist_ok=True)
        other.write_bytes(b"of somebody else")
    for frames in (3, 1):
        config = DemoConfig(
            out=tmp_path, frames=frames, backends=(backends.usable()[0],), options=ONE_THREAD, seconds=0.2
        )
        done = cell.run(config)
        outcome = done.report.outcomes[0]
        assert outcome.problem is None
        assert outcome.evaluation is None or outcome.evaluation.images == frames
        written = [*tmp_path.glob("belt/*.png"), *tmp_path.glob("annotated/*.png")]
        assert len(written) == 2 * frames + 2
    assert all(other.read_bytes() == b"of somebody else" for other in others)


def test_a_folder_that_cannot_be_cleared(tmp_path: Path) -> None:
    (tmp_path / "belt" / "000002.png").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"000002\.png"):
        cell.run(DemoConfig(out=tmp_path, frames=1))


def test_without_the_scorer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise MissingExtraError("evaluation needs hotcoco; install it with: pip install 'edgecv[eval]'")

    monkeypatch.setattr(evaluate, "load_scorer", absent)
    done = cell.run(DemoConfig(out=tmp_path, frames=1, backends=(backends.usable()[0],), seconds=0.2))
    assert done.report.exit_code == 0
    assert done.report.outcomes[0].evaluation is None
    assert any("no AP: evaluation needs hotcoco" in line for line in page.to_lines(done.report))


@pytest.mark.parametrize("frames", [0, -1, 1001])
def test_bad_config(tmp_path: Path, frames: int) -> None:
    with pytest.raises(InputError, match="frames: expected 1 to 1000"):
        cell.run(DemoConfig(out=tmp_path, frames=frames))
    assert not list(tmp_path.iterdir())
