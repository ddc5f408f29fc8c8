"""The loop: frames through a pipeline into receivers, in order, to an end that may come early."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from edgecv import loop, schemas
from edgecv.errors import BackendError, MediaError
from edgecv.frame import Frame as YuvFrame
from edgecv.loop import Tally, ToJson, ToPictures
from edgecv.media import Failure, Frame, Gap, Item, JsonLinesSink, Picture, Source, open_sink
from edgecv.media.items import Kind
from edgecv.types import Classification, Detections, Placement, Result, Seen, Timing

PLACEMENT = Placement("fake", "1", "cpu", "fp16", "fp32", 2, "none", (("gpu", "is not here"),))
STAGES = (("prepare", 1.0), ("find_regions", 4.0), ("join", 0.5))


def frame(index: int) -> Frame:
    """8 pixels wide, 4 high, and as bright as its index."""
    return Frame(np.full((4, 8, 3), index, np.uint8), f"{index}.png", index, captured_ns=1000 + index)


def failure(index: int) -> Failure:
    return Failure(f"{index}.png", index, MediaError(f"{index}.png: is damaged"))


class FakeSource(Source):
    """asked: how many of its items were asked for."""

    def __init__(self, *items: Item, kind: Kind = "images", length: int | None = None) -> None:
        super().__init__("fake", length=length)
        self.kind = kind
        self.asked = 0
        self._given = items

    def _items(self) -> Iterator[Item]:
        for item in self._given:
            self.asked += 1
            yield item


def detections(n: int = 0, *, seen: Seen | None = None, **columns: Any) -> Detections:
    """n boxes, of which box i begins at (i, 0)."""
    xyxy = np.array([[i, 0, i + 2.25, 3] for i in range(n)], np.float32).reshape(n, 4)
    confidence = np.linspace(1, 0.5, n, dtype=np.float32)
    return Detections(
        xyxy, confidence, np.arange(n, dtype=np.int32), names=("cat", "dog"), seen=seen, **columns
    )


def look(picture: Picture, captured_ns: int | None = None) -> Detections:
    """As many objects as the picture is bright."""
    return detections(int(picture[0, 0, 0]), seen=Seen(Timing(STAGES), PLACEMENT, 2.5))


class Recorder:
    """Notes what it gets. enough: of frames and failures together, after which it wants no more."""

    def __init__(self, name: str = "", events: list[str] | None = None, *, enough: int | None = None) -> None:
        self.name = name
        self.events: list[str] = [] if events is None else events
        self._enough = enough
        self._got = 0

    @property
    def is_done(self) -> bool:
        return self._enough is not None and self._got >= self._enough

    def result(self, frame: Frame, found: Result) -> None:
        self._note(f"{self.name}{frame.index}")

    def failure(self, failure: Failure) -> None:
        self._note(f"{self.name}{failure.index}!")

    def _note(self, event: str) -> None:
        self._got += 1
        self.events.append(event)


def test_every_item_goes_to_every_receiver_in_order() -> None:
    events: list[str] = []
    source = FakeSource(frame(0), failure(1), frame(2))

    def told(picture: Picture, captured_ns: int | None = None) -> Detections:
        events.append(f"look {picture[0, 0, 0]} at {captured_ns}")
        return look(picture)

    loop.run(told, source, [Recorder("a", events), Recorder("b", events)])
    assert events == ["look 0 at 1000", "a0", "b0", "a1!", "b1!", "look 2 at 1002", "a2", "b2"]


def test_receivers_get_the_frame_and_what_was_found_themselves() -> None:
    one, found = frame(3), detections(3)

    class Keeper(Recorder):
        def result(self, frame: Frame, found: Result) -> None:
            self.kept = (frame, found)

        def failure(self, failure: Failure) -> None:
            self.kept_failure = failure

    keeper, bad = Keeper(), failure(4)
    loop.run(lambda picture, captured_ns=None: found, FakeSource(one, bad), [keeper])
    assert keeper.kept[0] is one
    assert keeper.kept[1] is found
    assert keeper.kept_failure is bad


def test_the_tally() -> None:
    tally = loop.run(look, FakeSource(frame(2), failure(1), frame(3), failure(0)), [])
    assert (tally.frames, tally.failures, tally.counted) == (2, 2, 5)
    assert list(tally.stages_ms.items()) == [(stage, 2 * ms) for stage, ms in STAGES]
    assert list(tally.means_ms.items()) == list(STAGES)
    assert not tally.is_interrupted


def test_means_are_over_all_frames_whatever_stages_each_had() -> None:
    timings = iter(
        (
            Timing((("prepare", 1.0), ("join", 2.0))),
            Timing((("prepare", 3.0), ("again", 8.0), ("join", 2.0))),
            None,
            Timing((("again", 4.0),)),
        )
    )

    def staged(picture: Picture, captured_ns: int | None = None) -> Classification:
        timing = next(timings)
        seen = None if timing is None else Seen(timing, PLACEMENT)
        return Classification(np.zeros(1, np.int32), np.ones(1, np.float32), seen=seen)

    tally = loop.run(staged, FakeSource(*map(frame, range(4))), [])
    assert (tally.frames, tally.counted) == (4, 4)
    assert list(tally.means_ms.items()) == [("prepare", 1.0), ("join", 1.0), ("again", 3.0)]


def test_a_result_that_has_no_length_counts_as_a_frame_alone() -> None:
    class Plain(Result, frozen=True, eq=False):
        pass

    tally = loop.run(lambda picture, captured_ns=None: Plain(), FakeSource(frame(0), frame(1)), [])
    assert (tally.frames, tally.counted, tally.stages_ms) == (2, 0, {})


@pytest.mark.parametrize("items", [(), (failure(0),)], ids=["nothing", "failures"])
def test_no_frame_has_no_means(items: tuple[Item, ...]) -> None:
    tally = loop.run(look, FakeSource(*items), [])
    assert tally == Tally(failures=len(items))
    assert tally.means_ms == {}


@pytest.mark.parametrize("length", [3, 7, None])
def test_progress_after_each_item(length: int | None) -> None:
    events: list[str] = []
    source = FakeSource(frame(0), failure(1), frame(2), length=length)
    loop.run(
        look,
        source,
        [Recorder("a", events)],
        progress=lambda done, wanted: events.append(f"{done} of {wanted}"),
    )
    assert events == ["a0", f"1 of {length}", "a1!", f"2 of {length}", "a2", f"3 of {length}"]


def test_progress_beyond_what_was_stated_has_no_end() -> None:
    events: list[str] = []
    source = FakeSource(*map(frame, range(3)), length=2)
    loop.run(look, source, [], progress=lambda done, wanted: events.append(f"{done} of {wanted}"))
    assert events == ["1 of 2", "2 of 2", "3 of None"]


def test_gaps_go_to_those_who_want_to_know(tmp_path: Path) -> None:
    stall, over = (Gap("camera", 1, seconds, "it ended", seconds > 5) for seconds in (0.25, 7.0))

    class Listener(Recorder):
        def gap(self, gap: Gap) -> None:
            self.events.append(f"gap {gap.index} {gap.is_over}")

    progress: list[int] = []
    listener, other = Listener(), Recorder()
    path = tmp_path / "out.jsonl"
    with JsonLinesSink(path) as sink:
        tally = loop.run(
            look,
            FakeSource(frame(0), stall, over, frame(1)),
            [listener, other, ToJson(sink)],
            progress=lambda done, _: progress.append(done),
        )
    assert listener.events == ["0", "gap 1 False", "gap 1 True", "1"]
    assert other.events == ["0", "1"]
    assert progress == [1, 2]
    assert (tally.frames, tally.failures, tally.gaps) == (2, 0, 1)
    told = [msgspec.convert(line, schemas.Event) for line in lines(path)[1:3]]
    assert told == [
        schemas.Event(event="stall", source="camera", frame=1, seconds=0.25, reason="it ended"),
        schemas.Event(event="gap", source="camera", frame=1, seconds=7.0, reason="it ended"),
    ]


@pytest.mark.parametrize(
    ("enough", "frames"),
    [
        pytest.param((), 5, id="nobody listens"),
        pytest.param((None,), 5, id="one that wants all"),
        pytest.param((2,), 2, id="one that has enough"),
        pytest.param((2, None), 5, id="one of two"),
        pytest.param((None, 2), 5, id="the other of two"),
        pytest.param((1, 3), 3, id="both, one after the other"),
        pytest.param((5,), 5, id="at the end"),
    ],
)
def test_the_run_ends_when_nobody_wants_more(enough: tuple[int | None, ...], frames: int) -> None:
    source = FakeSource(*map(frame, range(5)))
    receivers = [Recorder(enough=count) for count in enough]
    progress: list[int] = []
    tally = loop.run(look, source, receivers, progress=lambda done, _: progress.append(done))
    assert tally.frames == frames
    assert source.asked == frames, "no frame is read for nobody"
    assert progress == list(range(1, frames + 1)), "the last one too"
    for receiver in receivers:
        assert receiver.events == [str(i) for i in range(frames)], "also those that have enough"


def test_a_failure_may_be_the_last_that_is_wanted() -> None:
    source = FakeSource(frame(0), failure(1), frame(2))
    tally = loop.run(look, source, [Recorder(enough=2)])
    assert (tally.frames, tally.failures, source.asked) == (1, 1, 2)


def test_what_the_pipeline_raises_ends_the_run() -> None:
    def broken(picture: Picture, captured_ns: int | None = None) -> Detections:
        if picture[0, 0, 0] == 1:
            raise BackendError("it broke")
        return look(picture)

    receiver = Recorder()
    with pytest.raises(BackendError, match="it broke"):
        loop.run(broken, FakeSource(*map(frame, range(3))), [receiver])
    assert receiver.events == ["0"]


def raising(number: int, *, at: int, times: int = 1) -> Callable[..., Detections]:
    """A pipeline during one of whose frames a signal comes."""

    def interrupted(picture: Picture, captured_ns: int | None = None) -> Detections:
        if picture[0, 0, 0] == at:
            for _ in range(times):
                signal.raise_signal(number)
        return look(picture)

    return interrupted


@pytest.fixture
def handlers() -> Iterator[dict[signal.Signals, Any]]:
    """Handlers of the signals that end a run, which have to be there again in the end."""

    def own(number: int, _: Any) -> None:
        raise AssertionError("the signal came through")

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, own) for number in numbers}
    yield dict.fromkeys(numbers, own)
    after = {number: signal.signal(number, handler) for number, handler in before.items()}
    assert after == dict.fromkeys(numbers, own)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_frame_in_hand(
    handlers: dict[signal.Signals, Any], number: signal.Signals
) -> None:
    source, receiver = FakeSource(*map(frame, range(5))), Recorder()
    with loop.interruptible(source) as interrupt:
        assert not interrupt.came
        tally = loop.run(raising(number, at=1), source, [receiver], interrupt=interrupt)
        assert interrupt.came
    assert tally.is_interrupted
    assert tally.frames == 2
    assert source.asked == 2
    assert receiver.events == ["0", "1"], "the frame in hand is whole"


def test_without_a_signal_nothing_is_reported(handlers: dict[signal.Signals, Any]) -> None:
    source = FakeSource(frame(0), frame(1))
    with loop.interruptible(source) as interrupt:
        for number, own in handlers.items():
            assert signal.getsignal(number) is not own
        tally = loop.run(look, source, [], interrupt=interrupt)
    assert not tally.is_interrupted
    assert tally.frames == 2


def test_a_second_signal_ends_the_run_at_once(handlers: dict[signal.Signals, Any]) -> None:
    source, receiver = FakeSource(*map(frame, range(5))), Recorder()
    with pytest.raises(KeyboardInterrupt), loop.interruptible(source) as interrupt:
        loop.run(raising(signal.SIGINT, at=1, times=2), source, [receiver], interrupt=interrupt)
    assert interrupt.came
    assert receiver.events == ["0"], "the frame in hand is given up"


def test_handlers_are_put_back_after_an_error(handlers: dict[signal.Signals, Any]) -> None:
    with pytest.raises(BackendError), loop.interruptible(FakeSource()):
        raise BackendError("it broke")
    for number, own in handlers.items():
        assert signal.getsignal(number) is own


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_for_each_frame_and_failure(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonLinesSink(path) as sink:
        loop.run(look, FakeSource(frame(2), failure(1)), [ToJson(sink)])
    found, failed = lines(path)
    assert msgspec.convert(found, schemas.Detected) == schemas.Detected(
        source="2.png",
        frame=2,
        width=8,
        height=4,
        detections=(
            schemas.Detection(xyxy=(0, 0, 2.25, 3), confidence=1.0, class_id=0, class_name="cat"),
            schemas.Detection(xyxy=(1, 0, 3.25, 3), confidence=0.5, class_id=1, class_name="dog"),
        ),
        timing_ms=dict(STAGES),
        age_ms=2.5,
        placement=schemas.PlacementRecord(
            backend="fake",
            version="1",
            device="cpu",
            stored="fp16",
            precision="fp32",
            threads=2,
            engine="none",
            fallbacks=(schemas.Fallback(backend="gpu", reason="is not here"),),
        ),
    )
    assert list(found["timing_ms"]) == [stage for stage, _ in STAGES], "in order"
    assert msgspec.convert(failed, schemas.Failed) == schemas.Failed(
        source="1.png", frame=1, error="1.png: is damaged"
    )


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        pytest.param(detections(0), schemas.Detected, id="no object"),
        pytest.param(
            detections(2, keypoints=np.ones((2, 5, 3), np.float32)), schemas.Detected, id="keypoints"
        ),
        pytest.param(
            detections(2, tracker_id=np.array([7, 9], np.int32)), schemas.Detected, id="tracker ids"
        ),
        pytest.param(
            Classification(
                np.array([9, 1], np.int32), np.array([0.5, 0.25], np.float32), names=("cat", "dog")
            ),
            schemas.Classified,
            id="classes",
        ),
    ],
)
@pytest.mark.parametrize("age_ms", [None, 3.0])
def test_lines_are_what_the_schema_states(
    tmp_path: Path, found: Result, kind: type[Any], age_ms: float | None
) -> None:
    whole = msgspec.structs.replace(found, seen=Seen(Timing(STAGES), PLACEMENT, age_ms))
    path = tmp_path / "out.jsonl"
    with JsonLinesSink(path) as sink:
        loop.run(lambda picture, captured_ns=None: whole, FakeSource(frame(5)), [ToJson(sink)])
    (line,) = lines(path)
    told = msgspec.convert(line, kind)
    assert msgspec.json.decode(msgspec.json.encode(told)) == line, "all of it, and nothing else"
    assert (told.source, told.frame, told.width, told.height, told.age_ms) == ("5.png", 5, 8, 4, age_ms)
    objects = told.detections if isinstance(told, schemas.Detected) else told.classes
    assert len(objects) == len(whole)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("other", "frames"),
    [
        pytest.param(None, 3, id="alone"),
        pytest.param(1, 3, id="beside one that has enough"),
        pytest.param(4, 4, id="until the other has enough"),
        pytest.param(100, 6, id="beside one that wants all"),
    ],
)
def test_a_reader_that_left_ends_the_run_unless_somebody_else_wants_it(
    tmp_path: Path, other: int | None, frames: int
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def leaving(picture: Picture, captured_ns: int | None = None) -> Detections:
        if picture[0, 0, 0] == 2:
            os.close(reader)
        return look(picture)

    source = FakeSource(*map(frame, range(6)))
    others = [] if other is None else [Recorder(enough=other)]
    with JsonLinesSink(path) as sink:
        to_json = ToJson(sink)
        assert not to_json.is_done
        tally = loop.run(leaving, source, [to_json, *others])
        assert to_json.is_done
    assert sink.written == 2, "what came after was dropped without a word"
    assert (tally.frames, source.asked) == (frames, frames)


class FakeSink:
    """Notes what it is asked to write."""

    def __init__(self, events: list[str]) -> None:
        self._events = events

    def write(self, frame: Frame, picture: Picture) -> None:
        self._events.append(f"write {frame.index}: {picture[0, 0, 0]}")


class FakeWindow:
    """Stays for so many pictures. waits: what it was asked to wait each time; stops: what it was told."""

    def __init__(self, events: list[str], pictures: int = 1000) -> None:
        self._events = events
        self._left = pictures
        self.waits: list[int] = []
        self.stops: list[bool] = []

    def show(self, picture: Picture, *, wait_ms: int = 1, stop: Callable[[], bool] = lambda: False) -> bool:
        self._events.append(f"show {picture[0, 0, 0]}")
        self.waits.append(wait_ms)
        self.stops.append(stop())
        self._left -= 1
        return self._left > 0


def drawn(picture: Picture, found: Detections) -> Picture:
    """Another picture, 100 brighter and 10 for each object."""
    return picture + np.uint8(100 + 10 * len(found))


def test_pictures_are_drawn_written_and_shown() -> None:
    events: list[str] = []
    source = FakeSource(frame(0), failure(1), frame(2))
    sink, window = FakeSink(events), FakeWindow(events)
    receiver = ToPictures(drawn, source, sink=sink, window=window)  # type: ignore[arg-type]
    tally = loop.run(look, source, [receiver])
    assert events == ["write 0: 100", "show 100", "write 2: 122", "show 122"]
    assert (tally.frames, tally.failures) == (2, 1)
    assert not receiver.is_done
    assert window.stops == [False, False]


def test_a_frame_in_yuv_is_looked_at_as_it_is_and_drawn_as_bgr() -> None:
    raw = YuvFrame(np.full((4, 16), 99, np.uint8), "yuyv")
    source = FakeSource(Frame(raw, "stdin", 0, 0))
    looked_at: list[Any] = []
    drawn_on: list[Picture] = []

    def see(picture: Any, captured_ns: int | None = None) -> Detections:
        looked_at.append(picture)
        return detections()

    def draw(picture: Picture, found: Detections) -> Picture:
        drawn_on.append(picture)
        return picture

    loop.run(see, source, [ToPictures(draw, source)])
    assert looked_at == [raw]
    np.testing.assert_array_equal(drawn_on, [raw.bgr()])


def test_the_run_ends_with_its_window() -> None:
    events: list[str] = []
    source, listener = FakeSource(*map(frame, range(5))), Recorder("told ", events)
    sink, window = FakeSink(events), FakeWindow(events, pictures=2)
    pictures = ToPictures(drawn, source, sink=sink, window=window)  # type: ignore[arg-type]
    tally = loop.run(look, source, [pictures, listener])
    assert (tally.frames, source.asked) == (2, 2)
    assert events[-3:] == ["write 1: 111", "show 111", "told 1"], "the last frame goes everywhere"


def test_pictures_without_a_window_go_on_to_the_end() -> None:
    events: list[str] = []
    source = FakeSource(*map(frame, range(3)))
    loop.run(look, source, [ToPictures(drawn, source, sink=FakeSink(events))])  # type: ignore[arg-type]
    assert events == ["write 0: 100", "write 1: 111", "write 2: 122"]


@pytest.mark.parametrize(("kind", "wait_ms"), [("image", 0), ("images", 0), ("video", 1), ("stream", 1)])
def test_a_still_picture_waits_for_a_key(kind: Kind, wait_ms: int) -> None:
    source, window = FakeSource(frame(0), frame(1), kind=kind), FakeWindow([])
    loop.run(look, source, [ToPictures(drawn, source, window=window)])  # type: ignore[arg-type]
    assert window.waits == [wait_ms] * 2


def test_a_wait_for_a_key_ends_when_the_user_interrupts(handlers: dict[signal.Signals, Any]) -> None:
    source, window = FakeSource(*map(frame, range(5))), FakeWindow([])
    with loop.interruptible(source) as interrupt:
        receiver = ToPictures(drawn, source, window=window, interrupt=interrupt)  # type: ignore[arg-type]
        tally = loop.run(raising(signal.SIGINT, at=1), source, [receiver], interrupt=interrupt)
    assert window.stops == [False, True]
    assert tally.is_interrupted
    assert tally.frames == 2


def test_pictures_on_a_disk(tmp_path: Path) -> None:
    cv2 = pytest.importorskip("cv2", reason="pictures need the extra opencv")
    source = FakeSource(frame(0), failure(1), frame(2))
    with open_sink(f"{tmp_path / 'out'}/", kind=source.kind) as sink:
        loop.run(look, source, [ToPictures(drawn, source, sink=sink)])
        assert sink.written == 2
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["0.png", "2.png"]
    written = cv2.imread(str(tmp_path / "out" / "2.png"))
    assert written.shape == (4, 8, 3)
    assert (written == 122).all()
