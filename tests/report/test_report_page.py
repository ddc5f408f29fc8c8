"""Pages: what is hostile is shown as text, what is shown is right, and a file is whole or not there."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecv import machine
from edgecv.errors import InputError, MissingExtraError, OutputError
from edgecv.report import (
    Block,
    Chart,
    Column,
    Facts,
    Failure,
    Failures,
    Page,
    Picture,
    Section,
    Status,
    Table,
    Text,
    charts,
    to_html,
    write_html,
)
from edgecv.report.identity import machine_facts, versions_of
from edgecv.report.values import clean, to_text
from tests.report.html_reader import Reader, check_self_contained, read

XSS = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>&amp;</style></svg>"
DOT = base64.b64decode("R0lGODlhAQABAIAAAP///wAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw==")


def page(*blocks: Block, **changes: Any) -> Page:
    values: dict[str, Any] = {
        "title": "A title",
        "lead": "A lead.",
        "command": "edgecv bench",
        "sections": [Section("A section", blocks)],
    }
    return Page(**(values | changes))


def shown(*blocks: Block, **changes: Any) -> Reader:
    return check_self_contained(to_html(page(*blocks, **changes)))


def hostile_page() -> Page:
    """Markup in every text that a page takes."""
    identity = machine.identity()
    identity["cpu"]["model"] = identity["os"]["name"] = identity["board"]["model"] = XSS
    blocks: list[Block] = [
        Text(XSS),
        Facts({XSS: XSS}, notes={XSS: XSS}, large=True),
        Facts({XSS: XSS}),
        Table([XSS, Column(f"{XSS}2")], [(XSS, Status(XSS, "bad"))], caption=XSS),
        Picture(DOT, XSS, XSS, mime="image/gif"),
        Failures([Failure(XSS, XSS, XSS)]),
        Chart(charts.bars([]), XSS, XSS),
        Chart(charts.bars([charts.Bar(XSS, 1.0, 0.5, 2.0), charts.Bar(XSS, None)], unit=XSS), XSS),
        Chart(charts.stacked_bars([XSS], [charts.Stack(XSS, [1.0])], unit=XSS), XSS),
        Chart(
            charts.lines([charts.Series(XSS, [1, 2], [3, 4])] * 2, x_label=XSS, y_label=XSS),
            XSS,
        ),
        Chart(charts.histogram([charts.Samples(XSS, [1.0, 2.0], note=XSS)], x_label=XSS), XSS),
    ]
    return Page(
        title=XSS,
        lead=XSS,
        command=XSS,
        sections=[Section(XSS, blocks, note=XSS) for _ in range(3)],
        versions={XSS: XSS},
        machine=identity,
    )


def test_hostile_text_is_shown_and_not_obeyed() -> None:
    html = to_html(hostile_page())
    found = check_self_contained(html)
    assert XSS not in html
    for tag, class_ in [
        ("title", None), ("h1", None), ("p", "lead"), ("h2", None), ("p", "note"), ("dt", None),
        ("th", None), ("span", "status"), ("figcaption", None), ("strong", None), ("span", "kind"),
        ("code", None), ("text", None),
    ]:  # fmt: skip
        assert any(XSS in element.text for element in found.all(tag, class_)), (tag, class_)
    assert [each.attributes["alt"] for each in found.all("img")] == [XSS] * 3
    assert any(XSS in (each.attributes.get("aria-label") or "") for each in found.all("figure"))


@given(st.text(), st.text())
def test_any_text_comes_back(title: str, value: str) -> None:
    found = read(to_html(page(Facts({"label": value}), title=title, machine={})))
    assert found.all("h1")[0].text == clean(title)
    assert found.all("dd")[0].text == clean(value)


def test_text_that_utf8_cannot_hold(tmp_path: Path) -> None:
    write_html(tmp_path / "a.html", page(title="bad\udcff\x00\x0bname"))
    found = read((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert found.all("h1")[0].text == "bad\ufffd\ufffd\ufffdname"


# --- blocks ---------------------------------------------------------------------------------------


def test_paragraphs() -> None:
    found = shown(Text("one\nline\n\n two \n\n\n"))
    assert [each.text for each in found.all("p") if not each.attributes] == ["one\nline", "two"]


@pytest.mark.parametrize(
    ("value", "spec", "expected"),
    [
        pytest.param(None, ".2f", "–", id="none"),  # noqa: RUF001
        pytest.param(1.5, ".2f", "1.50", id="spec"),
        pytest.param(3, ".1f", "3.0", id="whole number with a spec"),
        pytest.param(3, "", "3", id="whole number"),
        pytest.param(12345678.0, "", "12345678", id="whole float"),
        pytest.param(1.23456789, "", "1.23457", id="six digits"),
        pytest.param(np.float32(0.5), ".3f", "0.500", id="numpy scalar"),
        pytest.param(np.int64(7), "", "7", id="numpy whole number"),
        pytest.param(Fraction(1, 4), ".2f", "0.25", id="fraction"),
        pytest.param(True, ".2f", "yes", id="boolean"),
        pytest.param(np.False_, "", "no", id="numpy boolean"),
        pytest.param(float("nan"), ".2f", "NaN", id="nan"),
        pytest.param(float("inf"), ".2f", "∞", id="infinity"),
        pytest.param(float("-inf"), ".2f", "-∞", id="minus infinity"),
        pytest.param(1e300, ".2f", "1e+300", id="too large for its spec"),
        pytest.param(10**400, "", "beyond range", id="too large for a float"),
        pytest.param("text", ".2f", "text", id="text"),
        pytest.param(Path("a/b"), "", "a/b", id="path"),
    ],
)
def test_values_as_text(value: object, spec: str, expected: str) -> None:
    assert to_text(value, spec) == expected


@pytest.mark.parametrize(
    ("values", "which", "expected"),
    [
        pytest.param([3, 1, 2], "min", [1], id="least"),
        pytest.param([3, 1, 2], "max", [0], id="most"),
        pytest.param([1, 1, 2], "min", [0, 1], id="a tie"),
        pytest.param([1, 1, 1], "min", [], id="all alike"),
        pytest.param([1], "min", [], id="alone"),
        pytest.param([None, 4, float("nan"), 5], "min", [1], id="gaps"),
        pytest.param(["-", 4, Status("ok"), 5], "max", [3], id="words"),
        pytest.param([True, 4, 5], "min", [1], id="a boolean is no number"),
        pytest.param([None, None], "min", [], id="nothing"),
    ],
)
def test_the_best_is_marked(values: Sequence[object], which: Any, expected: list[int]) -> None:
    rows = [(f"row {i}", value) for i, value in enumerate(values)]
    found = shown(Table(["name", "value"], rows, best={"value": which}))
    marked = [
        i for i, cell in enumerate(found.all("td")) if "best" in (cell.attributes.get("class") or "").split()
    ]
    assert marked == expected
    assert len(found.all("p", "key")) == bool(expected)


def test_what_a_mark_means_is_said_once() -> None:
    table = Table(["name", "n"], [("a", 1), ("b", 2)], best={"n": "max"})
    assert len(shown(table, Text("between"), table).all("p", "key")) == 1


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        pytest.param("c", [1, 2.5], True, id="numbers"),
        pytest.param("c", [1, None], True, id="numbers and gaps"),
        pytest.param("c", [1, "x"], False, id="a word among them"),
        pytest.param("c", [None, None], False, id="gaps"),
        pytest.param(Column("c", ".1f"), [None, None], True, id="gaps in a column of numbers"),
        pytest.param("c", [Status("ok"), 1], False, id="a status"),
        pytest.param(Column("c", align="right"), ["x"], True, id="right as told"),
        pytest.param(Column("c", align="left"), [1], False, id="left as told"),
    ],
)
def test_numbers_stand_right(column: Column | str, values: Sequence[object], expected: bool) -> None:
    found = shown(Table(["name", column], [("row", value) for value in values]))
    cells = [found.all("th")[1], *found.all("td")]
    assert {"right" in (cell.attributes.get("class") or "").split() for cell in cells} == {expected}


def test_a_row_has_a_head() -> None:
    found = shown(Table(["name", "n"], [("a", 1)]))
    assert [each.text.strip() for each in found.all("th") if each.attributes["scope"] == "row"] == ["a"]
    assert [each.text for each in found.all("td")] == ["1"]


def test_a_table_without_rows() -> None:
    assert len(shown(Table(["name", "n"], [], best={"n": "min"})).all("tr")) == 1


def test_failures_are_counted_in_the_head() -> None:
    items = [Failure("tensorrt", "is not installed", "MissingExtraError"), Failure("b", "c")]
    found = shown(Failures(items[:1]), Failures(items[1:]))
    (alert,) = found.all("p", "alert")
    assert alert.text == "2 failures"
    assert found.all("ul", "failures")[0].attributes["id"] == "failures"
    text = found.all("ul", "failures")[0].text
    assert all(part in text for part in ("tensorrt", "is not installed", "MissingExtraError"))
    assert [each.text for each in shown(Failures(items[:1])).all("p", "alert")] == ["1 failure"]


def test_no_failures_leave_no_trace() -> None:
    found = shown(Failures([]))
    assert not found.all("p", "alert")
    assert not found.all("ul")


def test_sections_are_linked_when_there_are_many() -> None:
    assert not shown().all("nav")
    found = shown(sections=[Section(f"Part {i}", []) for i in range(3)])
    links = [(each.attributes["href"], each.text) for each in found.all("a")]
    assert links == [("#s1", "Part 0"), ("#s2", "Part 1"), ("#s3", "Part 2"), ("#origin", "Reproduce")]


# --- pictures -------------------------------------------------------------------------------------


def test_pictures_in_a_row_are_one_gallery() -> None:
    dot = Picture(DOT, "dot", mime="image/gif")
    found = shown(dot, dot, Text("between"), dot)
    assert len(found.all("div", "gallery")) == 2
    images = found.all("img")
    assert len(images) == 3
    source = images[0].attributes["src"] or ""
    assert source == "data:image/gif;base64," + base64.b64encode(DOT).decode()
    assert images[0].attributes["alt"] == "dot"


@pytest.mark.parametrize(
    ("shape", "max_width", "expected_wh"),
    [
        pytest.param((30, 40, 3), 960, (40, 30), id="as it is"),
        pytest.param((30, 40), 960, (40, 30), id="gray"),
        pytest.param((300, 400, 3), 100, (100, 75), id="reduced"),
        pytest.param((1, 400, 3), 100, (100, 1), id="flat"),
    ],
)
@pytest.mark.parametrize("mime", ["image/png", "image/jpeg"])
def test_frames_are_encoded(
    shape: tuple[int, ...], max_width: int, expected_wh: tuple[int, int], mime: str
) -> None:
    cv2 = pytest.importorskip("cv2", reason="frames are encoded by the extra opencv")
    frame = np.full(shape, 80, np.uint8)
    (image,) = shown(Picture(frame, "frame", mime=mime, max_width=max_width)).all("img")
    head, _, data = (image.attributes["src"] or "").partition(",")
    assert head == f"data:{mime};base64"
    decoded = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_COLOR)
    assert decoded.shape[1::-1] == expected_wh
    assert (image.attributes["width"], image.attributes["height"]) == tuple(map(str, expected_wh))
    assert abs(int(decoded.mean()) - 80) <= 2


def test_a_view_of_a_frame_can_be_encoded() -> None:
    pytest.importorskip("cv2", reason="frames are encoded by the extra opencv")
    frame = np.zeros((20, 20, 3), np.uint8)[::-1, ::2]
    assert shown(Picture(frame)).all("img")[0].attributes["width"] == "10"


def test_frames_need_opencv_and_bytes_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    shown(Picture(DOT, mime="image/gif"))
    with pytest.raises(MissingExtraError, match=r"install it with: pip install 'edgecv\[opencv\]'$"):
        to_html(page(Picture(np.zeros((2, 2, 3), np.uint8))))


# --- what does not fit ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "text"),
    [
        pytest.param(lambda: Table([], []), "at least one column", id="no column"),
        pytest.param(lambda: Table(["a", "b"], [(1, 2), (1,)]), "2 cells in row 1, got 1", id="short row"),
        pytest.param(lambda: Table(["a"], [], best={"b": "min"}), "got 'b'", id="best of no column"),
        pytest.param(
            lambda: Table(["a"], [], best={"a": "least"}),  # type: ignore[dict-item]
            "min or max of 'a', got 'least'",
            id="best of an unknown kind",
        ),
        pytest.param(lambda: Column("a", "%d"), "column 'a': bad format '%d'", id="bad format"),
        pytest.param(lambda: Column("a", align="middle"), "got 'middle'", id="bad align"),  # type: ignore[arg-type]
        pytest.param(lambda: Status("a", "fine"), "got 'fine'", id="bad kind"),  # type: ignore[arg-type]
        pytest.param(
            lambda: Chart("<svg/>", "x"),  # type: ignore[arg-type]
            r"a drawing of edgecv\.report\.charts, got str",
            id="a chart that is text",
        ),
        pytest.param(lambda: Picture(b""), "got none", id="empty picture"),
        pytest.param(lambda: Picture(DOT, mime="image/svg+xml"), "svg", id="a picture that can run"),
        pytest.param(
            lambda: Picture(np.zeros((2, 2, 3), np.uint8), mime="image/gif"),
            "image/jpeg, image/png, got 'image/gif'",
            id="a type that is not encoded",
        ),
        pytest.param(
            lambda: Picture(np.zeros((2, 2, 3), np.float32)),  # type: ignore[arg-type]
            "got float32",
            id="float frame",
        ),
        pytest.param(lambda: Picture(np.zeros((2, 2, 4), np.uint8)), r"\(2, 2, 4\)", id="four channels"),
        pytest.param(lambda: Picture(np.zeros((0, 2, 3), np.uint8)), r"\(0, 2, 3\)", id="empty frame"),
        pytest.param(lambda: Picture(DOT, mime="image/gif", max_width=0), "max_width", id="no width"),
    ],
)
def test_what_does_not_fit_is_refused(make: Callable[[], object], text: str) -> None:
    with pytest.raises(InputError, match=text):
        make()


# --- the machine ----------------------------------------------------------------------------------


def test_the_page_names_the_machine_versions_command_and_day() -> None:
    identity = machine.identity()
    created = datetime(2031, 5, 6, 7, 8, tzinfo=timezone.utc)
    found = shown(command="edgecv bench a --frames 3", created=created)
    text = found.all("body")[0].text
    for part in ("edgecv bench a --frames 3", np.__version__, identity["python"]["version"]):
        assert part in text
    assert machine.describe(identity).partition(";")[0] in text
    assert found.all("time")[0].text.startswith("2031-05-0")


def test_given_versions_and_machine_are_taken() -> None:
    found = shown(versions={"thing": "9.8.7"}, machine={})
    assert [each.text for each in found.all("dt")] == ["thing"]
    assert "9.8.7" in found.all("dd")[0].text


FULL: Mapping[str, Any] = {
    "cpu": {
        "model": "2x Denver 2 + 4x Cortex-A57",
        "logical": 6,
        "physical": 6,
        "usable": 4,
        "cgroup_quota": 4.5,
        "caches": [
            {"level": 1, "type": "data", "size_bytes": 32768, "shared_by": 1, "count": 6},
            {"level": 2, "type": "unified", "size_bytes": 2097152, "shared_by": 4, "count": 1},
        ],
        "isa": {"usable": ["neon"], "active": "neon", "error": None},
        "governors": ["performance", "schedutil"],
        "frequency_mhz": {"min": 345.6, "max": 2035.2, "current": 2035.2},
    },
    "memory": {"total_bytes": 8 << 30, "limit_bytes": 512 << 20},
    "board": {"model": "quill", "power_mode": "0 MAXN", "release": "L4T R32.7"},
    "os": {"name": "Ubuntu 18.04", "kernel": "4.9", "machine": "aarch64"},
    "python": {"version": "3.10.1", "implementation": "CPython"},
    "libraries": {"numpy": "1.24", "cv2": "unknown", "tensorrt": None},
}


def test_facts_of_a_machine() -> None:
    assert machine_facts(FULL) == {
        "Board": "quill",
        "Power mode": "0 MAXN",
        "Board release": "L4T R32.7",
        "Processor": "2x Denver 2 + 4x Cortex-A57",
        "CPUs": "4 usable of 6, 6 cores",
        "CPU quota": "4.5",
        "Instruction set": "neon",
        "Caches": "L1d 6x 32 KiB, L2 2 MiB",
        "Governor": "performance, schedutil",
        "Frequency": "346 to 2035 MHz, now 2035",
        "Memory": "8 GiB",
        "Memory limit": "512 MiB",
        "System": "Ubuntu 18.04 4.9 aarch64",
    }
    assert versions_of(FULL) == {"CPython": "3.10.1", "NumPy": "1.24", "OpenCV": "unknown"}


def test_a_machine_that_tells_nothing() -> None:
    def silent(value: Any) -> Any:
        return {key: silent(each) for key, each in value.items()} if isinstance(value, Mapping) else None

    assert machine_facts(silent(FULL)) == {}
    assert versions_of(silent(FULL)) == {}
    assert machine_facts({}) == versions_of({}) == {}


# --- files ----------------------------------------------------------------------------------------


def test_write_replaces_a_file(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    write_html(path, page())
    check_self_contained(path.read_text(encoding="utf-8"))
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_write_to_a_device() -> None:
    write_html("/dev/null", page())
    assert Path("/dev/null").is_char_device()


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path, text in [
        (tmp_path / "none" / "a.html", "make the folder first: mkdir -p"),
        (tmp_path / "folder", "there is a folder of that name"),
        (Path("/dev/full"), "cannot be written: No space left"),
    ]:
        with pytest.raises(OutputError, match=text) as caught:
            write_html(path, page())
        assert "\n" not in str(caught.value)
    assert [each.name for each in tmp_path.iterdir()] == ["folder"]


def test_a_page_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError):
        write_html(path, page(Picture(np.zeros((2, 2, 3), np.uint8))))
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
