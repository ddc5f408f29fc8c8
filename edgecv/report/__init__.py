"""HTML reports: one self-contained page of text, tables, charts and pictures.

A page is made of frozen values and knows nothing of what is reported on: `Page` holds sections, a
section holds blocks. `to_html` and `write_html` turn it into one file that fetches nothing and runs
nothing. Charts come from `edgecv.report.charts`.
"""

from __future__ import annotations

from edgecv import extras

# Every module of this package is imported behind this door.
with extras.required("reports"):
    from edgecv.report.blocks import (
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
    )
    from edgecv.report.render import to_html, to_svg, write_html, write_svg

__all__ = [
    "Block",
    "Chart",
    "Column",
    "Facts",
    "Failure",
    "Failures",
    "Page",
    "Picture",
    "Section",
    "Status",
    "Table",
    "Text",
    "to_html",
    "to_svg",
    "write_html",
    "write_svg",
]
