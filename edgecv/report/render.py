"""From a page's values to one HTML file."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined, Template

from edgecv import machine
from edgecv.media.atomic import write_whole
from edgecv.report import svg
from edgecv.report.blocks import (
    Block,
    Chart,
    Column,
    Facts,
    Failures,
    Page,
    Picture,
    Section,
    Status,
    Table,
    Text,
    cell_text,
)
from edgecv.report.identity import machine_facts, versions_of
from edgecv.report.pictures import to_data_uri
from edgecv.report.values import clean, is_number, to_text


def to_html(page: Page) -> str:
    """The page as one HTML document, which loads nothing and runs nothing.

    Raises MissingExtraError where a frame has to be encoded and OpenCV is not installed.
    """
    identity = dict(machine.identity() if page.machine is None else page.machine)
    versions = versions_of(identity) if page.versions is None else page.versions
    html = _template().render(
        page=page,
        created=(page.created or datetime.now()).astimezone().strftime("%Y-%m-%d %H:%M %Z").strip(),
        failures=_count_failures(page),
        sections=[_section(section) for section in page.sections],
        machine_line=machine.describe(identity) if identity else "",
        machine_facts=machine_facts(identity),
        versions=versions,
    )
    return clean(html)


def write_html(path: str | Path, page: Page) -> None:
    """Write the page to a file, whole or not at all. Raises OutputError, and what `to_html` raises."""
    write_whole(Path(path), to_html(page).encode())


def to_svg(chart: Chart) -> str:
    """A chart's wide drawing as a picture of its own, with its style inside.

    It takes the colors that the viewer prefers, dark or light, and the viewer's own font.
    """
    return svg.picture(chart.drawing, chart.alt or chart.caption)


def write_svg(path: str | Path, chart: Chart) -> None:
    """Write the picture of a chart, whole or not at all. Raises OutputError."""
    write_whole(Path(path), to_svg(chart).encode())


@functools.cache
def _template() -> Template:
    environment = Environment(
        loader=FunctionLoader(lambda name: svg.FILES.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["text"] = to_text
    return environment.get_template("page.html")


def _count_failures(page: Page) -> int:
    blocks = (block for section in page.sections for block in section.blocks)
    return sum(len(block.items) for block in blocks if isinstance(block, Failures))


def _section(section: Section) -> dict[str, Any]:
    blocks = list(_views(section.blocks))
    marked = [i for i, block in enumerate(blocks) if block.get("has_best")]
    return {
        "title": section.title,
        "note": section.note,
        "blocks": blocks,
        # What a mark means is said once, below the last table that has one.
        "key_at": marked[-1] if marked else None,
    }


def _views(blocks: Sequence[Block]) -> Iterator[dict[str, Any]]:
    """What the template shows of each block; pictures in a row become one gallery."""
    for is_picture, group in groupby(blocks, lambda block: isinstance(block, Picture)):
        if is_picture:
            yield {"kind": "gallery", "pictures": [_picture(each) for each in group]}
        else:
            yield from map(_view, group)


def _view(block: Block) -> dict[str, Any]:
    match block:
        case Text():
            paragraphs = [part.strip() for part in block.text.split("\n\n")]
            return {"kind": "text", "paragraphs": [part for part in paragraphs if part]}
        case Facts():
            return {"kind": "facts", "facts": block}
        case Table():
            return {"kind": "table", **_table(block)}
        case Chart():
            alt = block.alt or block.caption
            return {"kind": "chart", "caption": block.caption, "alt": alt, "svg": svg.inline(block.drawing)}
        case Failures():
            return {"kind": "failures", "items": block.items}
        case _:
            raise TypeError(f"{type(block).__name__} is not a block of a page")


def _picture(picture: Block) -> dict[str, Any]:
    assert isinstance(picture, Picture)
    uri, size_wh = to_data_uri(picture)
    return {
        "uri": uri,
        "size_wh": size_wh,
        "caption": picture.caption,
        "alt": picture.alt or picture.caption,
    }


def _table(table: Table) -> dict[str, Any]:
    columns = [Column(column) if isinstance(column, str) else column for column in table.columns]
    cells = [[row[i] for row in table.rows] for i in range(len(columns))]
    best = [_best(column.name, values, table) for column, values in zip(columns, cells, strict=True)]
    return {
        "caption": table.caption,
        "names": [column.name for column in columns],
        "is_right": [_is_right(column, values) for column, values in zip(columns, cells, strict=True)],
        "wraps": [column.wrap for column in columns],
        "has_best": any(value is not None for value in best),
        "rows": [
            [
                {
                    "text": cell_text(cell, column.format),
                    "status": cell.kind if isinstance(cell, Status) else None,
                    "is_best": mark is not None and is_number(cell) and cell == mark,
                }
                for cell, column, mark in zip(row, columns, best, strict=True)
            ]
            for row in table.rows
        ],
    }


def _is_right(column: Column, values: Sequence[object]) -> bool:
    if column.align is not None:
        return column.align == "right"
    given = [value for value in values if value is not None]
    return all(map(is_number, given)) if given else bool(column.format)


def _best(name: str, values: Sequence[object], table: Table) -> float | None:
    """The number that is marked in a column, None where nothing is."""
    which = table.best.get(name)
    numbers = [value for value in values if is_number(value) and value == value]
    if which is None or len(set(numbers)) < 2:
        return None
    return min(numbers) if which == "min" else max(numbers)
