"""For a network that no brand knows: the two decodings that come nearest, and why each does not fit."""

from __future__ import annotations

from collections.abc import Callable

from edgecv.heads.cells import cell_count, cells_wh
from edgecv.heads.recognition import MOST_FINAL, YOLO_STRIDES
from edgecv.heads.ultralytics import parse_metadata
from edgecv.types import ModelFacts

_STRIDES = (4, 8, 16, 32, 64, 128)
# Columns of a final row: a box, its confidence, and perhaps its class, angle and image.
_ROW_COLUMNS = range(5, 9)

Shape = tuple[int | str | None, ...]


def nearest(facts: ModelFacts) -> list[tuple[str, str]]:
    """(type of a head, why it does not fit), two of them, the nearer one first.

    Where nothing speaks against one, its parameters are what the file does not say.
    """
    outputs = _Outputs(facts)
    found = [(why(outputs), type) for type, why in _WHY_NOT.items()]
    found.sort(key=lambda one: len(one[0]))
    unsaid = "nothing says what its columns are"
    # What the exporter says of its table does not bring another decoding nearer.
    said = {"boxes": _against(outputs)}
    return [(type, "; ".join(reasons + said.get(type, [])) or unsaid) for reasons, type in found[:2]]


class _Outputs:
    """Shapes of a network's outputs, without the batch."""

    def __init__(self, facts: ModelFacts) -> None:
        self.about = parse_metadata(facts.metadata)
        self.image_wh = facts.image_wh
        self.shapes = [spec.shape[1:] for spec in facts.outputs]

    @property
    def tables(self) -> list[tuple[int, int]]:
        """Rows and columns of those of two axes that are known, the longer axis taken as the rows."""
        known = [[n for n in shape if isinstance(n, int)] for shape in self.shapes if len(shape) == 2]
        return [(max(sizes), min(sizes)) for sizes in known if len(sizes) == 2]

    @property
    def has_masks(self) -> bool:
        """Whether they are a table and a map, as of rows and prototypes."""
        return sorted(map(len, self.shapes)) == [2, 3]

    @property
    def maps(self) -> list[int]:
        """Channels, first or last, of those whose other two axes count the cells of a stride."""
        found = []
        for shape in self.shapes:
            for channels, rows, columns in (shape, (shape[-1:] + shape[:2])) if len(shape) == 3 else ():
                if isinstance(channels, int) and self._counts_cells(rows, columns):
                    found.append(channels)
                    break
        return found

    @property
    def cells(self) -> set[int]:
        """How many cells one stride has, for the strides in use."""
        wh = self.image_wh
        return set() if wh is None else {cell_count(wh, (stride,)) for stride in _STRIDES}

    def count_cells(self, rows: int, per_cell: tuple[int, ...] = (1, 3)) -> bool:
        """Whether there are as many of them, or as many a cell, as cells of the strides of a YOLO."""
        wh = self.image_wh
        counts = [] if wh is None else [cell_count(wh, strides) for strides in YOLO_STRIDES]
        return any(rows == each * count for count in counts for each in per_cell)

    def _counts_cells(self, rows: int | str | None, columns: int | str | None) -> bool:
        wh = self.image_wh
        return wh is not None and any(cells_wh(wh, stride) == (columns, rows) for stride in _STRIDES)


def _shown(shapes: list[Shape]) -> str:
    return ", ".join(f"({', '.join('?' if n is None else str(n) for n in shape)})" for shape in shapes[:4])


def _boxes(o: _Outputs) -> list[str]:
    why = []
    if not o.tables:
        why.append(f"no output is a table of rows: {_shown(o.shapes)}")
    elif (len(o.shapes) == 1 or o.has_masks) and o.tables[0][1] < 5:
        why.append(f"{o.tables[0][1]} columns are fewer than a box and a score")
    elif len(o.shapes) > 1 and not o.has_masks and not any(columns == 4 for _, columns in o.tables):
        why.append("no output has the 4 columns of a box")
    elif o.image_wh is not None and not o.count_cells(o.tables[0][0]):
        why.append(f"{o.tables[0][0]} rows do not count the cells of strides 8, 16, 32 or alike")
    if len(o.shapes) > 3:
        why.append(f"{len(o.shapes)} outputs are more than boxes and scores")
    return why


def _against(o: _Outputs) -> list[str]:
    """What speaks against a table of boxes and scores in what Ultralytics' exporter says."""
    about = o.about
    if about is None or not about.names or not o.tables:
        return []
    names, width = len(about.names), o.tables[0][1]
    if about.task not in (None, "detect", "segment", "pose", "obb"):
        return [f"that task is not of boxes: {about.task}"]
    if about.task == "pose" and about.kpt_shape is None:
        return ["the metadata has no kpt_shape, how many keypoints of how many values"]
    if about.task == "segment" and not o.has_masks:
        return ["no second output has prototypes of masks"]
    points, values = about.kpt_shape or (0, 0)
    more = {"pose": points * values, "obb": 1, "segment": width}.get(about.task or "", 0)
    wanted = 4 + names + more
    fits = width in (wanted, wanted + (about.task is None)) or about.task == "segment"
    return [] if fits else [f"{names} names in the metadata make {wanted} columns, and there are {width}"]


def _could_be_row(columns: int | str | None, *, has_points: bool) -> bool:
    """Whether so many columns can be a final row's. has_points: keypoints may stand behind it."""
    if not isinstance(columns, int) or columns in _ROW_COLUMNS:
        return True
    return has_points and columns > _ROW_COLUMNS[-1] and ((columns - 6) % 2 == 0 or (columns - 6) % 3 == 0)


def _rows(o: _Outputs) -> list[str]:
    why = []
    if len(o.shapes) == 1:
        shape = o.shapes[0]
        if len(shape) not in (1, 2) or not _could_be_row(shape[-1], has_points=len(shape) == 2):
            why.append(f"{_shown(o.shapes)} is no list of final boxes of 5 to 8 columns")
    else:
        ranks = sorted(len(shape) for shape in o.shapes)
        is_table = o.has_masks or any(shape and shape[-1] in _ROW_COLUMNS for shape in o.shapes)
        if not is_table and not any(shape[-1:] == (4,) for shape in o.shapes):
            why.append("no output has the columns of a box")
        if not is_table and 1 not in ranks:
            why.append("no output has one number a box, as labels have")
    if o.tables and max(rows for rows, _ in o.tables) > MOST_FINAL:
        why.append(f"{max(rows for rows, _ in o.tables)} rows are not final")
    return why


def _distances(o: _Outputs) -> list[str]:
    levels = o.maps or [
        rows for rows, _ in o.tables if {rows, rows / 2} & o.cells or o.count_cells(rows, per_cell=(1,))
    ]
    if not levels:
        return [f"no output has a row or a pixel for each cell of a stride: {_shown(o.shapes)}"]
    return [] if len(levels) == len(o.shapes) else ["not every output belongs to a stride"]


def _grid(o: _Outputs) -> list[str]:
    why = []
    if len(o.maps) != len(o.shapes) and not all(len(shape) == 4 for shape in o.shapes):
        why.append(f"not every output is a map of a stride: {_shown(o.shapes)}")
    elif o.maps and len(set(o.maps)) != 1:
        why.append("its maps differ in channels")
    counts = (2, 3) if len(o.maps) > 1 else (2, 3, 5)
    if o.maps and not any(c % n == 0 and c // n > 5 for c in o.maps for n in counts):
        why.append(f"{o.maps[0]} channels are not those of {', '.join(map(str, counts))} anchors")
    return why


def _anchors(o: _Outputs) -> list[str]:
    why = []
    if not any(shape[-1:] == (4,) for shape in o.shapes):
        why.append("no output has the 4 columns of a box")
    if len(o.shapes) < 2:
        why.append("there is one output, and boxes and scores are two")
    return why


def _heatmap(o: _Outputs) -> list[str]:
    why = []
    if len(o.maps) < 2 or len(o.maps) != len(o.shapes):
        why.append("its outputs are not maps of one stride")
    elif 2 not in o.maps:
        why.append("no map has the 2 channels of a size")
    return why


def _queries(o: _Outputs) -> list[str]:
    if len(o.shapes) == 1:
        why = (
            [] if o.tables and o.tables[0][1] > 4 else [f"{_shown(o.shapes)} is no table of boxes and scores"]
        )
    else:
        why = _anchors(o)
    rows = max((rows for rows, _ in o.tables), default=0)
    if rows > MOST_FINAL:
        why.append(f"{rows} rows are no queries")
    return why


_WHY_NOT: dict[str, Callable[[_Outputs], list[str]]] = {
    "boxes": _boxes,
    "rows": _rows,
    "grid": _grid,
    "distances": _distances,
    "anchors": _anchors,
    "heatmap": _heatmap,
    "queries": _queries,
}
