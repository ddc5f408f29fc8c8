"""What a page is made of: frozen values, checked when they are made.

Every text is plain text, whoever wrote it: markup in it is shown, not obeyed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecv.errors import InputError
from edgecv.report.charts.drawing import Drawing
from edgecv.report.values import to_text

PICTURE_MIMES = ("image/jpeg", "image/png", "image/webp", "image/gif")
ENCODED_MIMES = ("image/jpeg", "image/png")


@dataclass(frozen=True)
class Text:
    """Paragraphs, an empty line between two."""

    text: str


@dataclass(frozen=True)
class Facts:
    """Labels and their values; None is shown as an en dash.

    notes: by label, a few words below its value. large: as a row of key figures.
    """

    items: Mapping[str, object]
    notes: Mapping[str, str] = field(default_factory=dict)
    large: bool = False


@dataclass(frozen=True)
class Status:
    """A table's cell that says how something ended, in color and in words."""

    text: str
    kind: Literal["good", "bad", "plain"] = "plain"

    def __post_init__(self) -> None:
        if self.kind not in ("good", "bad", "plain"):
            raise InputError(f"status: expected the kind good, bad or plain, got {self.kind!r}")


@dataclass(frozen=True)
class Column:
    """A table's column. format: a format specification for its numbers, such as ".2f".

    align: None aligns a column right that holds numbers and nothing else. wrap: where its words break into
    lines: between words, anywhere, or not at all.
    """

    name: str
    format: str = ""
    align: Literal["left", "right"] | None = None
    wrap: Literal["words", "anywhere", "never"] = "words"

    def __post_init__(self) -> None:
        try:
            format(1.0, self.format)
        except (ValueError, TypeError) as error:
            raise InputError(f"column {self.name!r}: bad format {self.format!r}: {error}") from error
        if self.align not in (None, "left", "right"):
            raise InputError(f"column {self.name!r}: expected align left or right, got {self.align!r}")
        if self.wrap not in ("words", "anywhere", "never"):
            raise InputError(
                f"column {self.name!r}: expected wrap words, anywhere or never, got {self.wrap!r}"
            )


@dataclass(frozen=True)
class Table:
    """Rows of cells: text, numbers, `Status`, or None, which is shown as an en dash.

    A cell of the first column is the head of its row. best: column name -> which of its numbers is
    marked; nothing is where fewer than two differ. Raises InputError for rows that do not fit.
    """

    columns: Sequence[Column | str]
    rows: Sequence[Sequence[object]]
    caption: str = ""
    best: Mapping[str, Literal["min", "max"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.columns:
            raise InputError("table: expected at least one column, got none")
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise InputError(f"table: expected {len(self.columns)} cells in row {number}, got {len(row)}")
        names = [column if isinstance(column, str) else column.name for column in self.columns]
        for name, which in self.best.items():
            if name not in names:
                raise InputError(f"table: expected best of one of {', '.join(names)}, got {name!r}")
            if which not in ("min", "max"):
                raise InputError(f"table: expected best min or max of {name!r}, got {which!r}")


@dataclass(frozen=True)
class Chart:
    """A chart: a drawing of `edgecv.report.charts`, and the title that it goes by.

    alt: the title for those who do not see it; caption where it is empty. Raises InputError for
    anything else than a drawing.
    """

    drawing: Drawing
    caption: str
    alt: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.drawing, Drawing):
            raise InputError(
                f"chart: expected a drawing of edgecv.report.charts, got {type(self.drawing).__name__}"
            )


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture; several in a row stand side by side.

    data: an image file's bytes, embedded as they are, or a frame, uint8 (H, W, 3) BGR or (H, W),
    which is encoded through OpenCV. mime: of the bytes, or what a frame is encoded as: image/jpeg or
    image/png. max_width: pixels; a wider frame is reduced to it. Raises InputError.
    """

    data: bytes | NDArray[np.uint8]
    caption: str = ""
    alt: str = ""
    mime: str = "image/jpeg"
    max_width: int = 960

    def __post_init__(self) -> None:
        known = PICTURE_MIMES if isinstance(self.data, bytes) else ENCODED_MIMES
        if self.mime not in known:
            raise InputError(f"picture: expected the type {', '.join(known)}, got {self.mime!r}")
        if self.max_width < 1:
            raise InputError(f"picture: expected max_width of at least 1, got {self.max_width}")
        if isinstance(self.data, bytes):
            if not self.data:
                raise InputError("picture: expected an image file's bytes, got none")
            return
        data = np.asarray(self.data)
        is_picture = data.ndim == 2 or (data.ndim == 3 and data.shape[2] == 3)
        if data.dtype != np.uint8 or not is_picture or not data.size:
            raise InputError(
                f"picture: expected uint8 (H, W, 3) BGR or (H, W), got {data.dtype} {data.shape}"
            )


@dataclass(frozen=True)
class Failure:
    """what: that failed. error: its line. kind: class of the exception, or another short name."""

    what: str
    error: str
    kind: str = ""


@dataclass(frozen=True)
class Failures:
    """What went wrong; the page's head counts them. Nothing is shown where there are none."""

    items: Sequence[Failure]


Block = Text | Facts | Table | Chart | Picture | Failures


@dataclass(frozen=True)
class Section:
    """A heading and what stands below it. note: a line below the heading."""

    title: str
    blocks: Sequence[Block]
    note: str = ""


@dataclass(frozen=True)
class Page:
    """A whole report.

    lead: one or two sentences that say what it comes to. command: what one types to do it again, or
    empty. versions: of libraries, by name; None takes those that the machine's identity holds.
    machine: what `edgecv.machine.identity` returns; None asks for it. created: None is now.
    """

    title: str
    lead: str
    command: str
    sections: Sequence[Section]
    versions: Mapping[str, str] | None = None
    machine: Mapping[str, Any] | None = None
    created: datetime | None = None


def cell_text(value: object, spec: str = "") -> str:
    """A cell as it is shown."""
    return value.text if isinstance(value, Status) else to_text(value, spec)
