"""A chart as a browser would read it, checked, and what goes into all of them."""

from __future__ import annotations

import math
import re
from xml.etree import ElementTree

from hypothesis import strategies as st

from edgecv.report import svg
from edgecv.report.charts import Drawing, elements
from edgecv.report.charts.drawing import NARROW, WIDE

NAN, INF = math.nan, math.inf
XML = "{http://www.w3.org/2000/svg}"
NUMBER = r"-?\d+(?:\.\d+)?"
LONG = "a label that goes on and on " * 20
HOSTILE = "</text></svg><script>alert(1)</script>&\"'\x00\ud800\u202e"
ANY = st.one_of(st.none(), st.floats(), st.integers(-(10**6), 10**6))


class Drawn:
    """A chart, parsed and checked: two drawings, with nothing outside of them."""

    def __init__(self, chart: Drawing) -> None:
        root = ElementTree.fromstring(svg.inline(chart))
        self.drawings = root.findall(f"{XML}svg")
        assert [each.attrib["class"] for each in self.drawings] == ["plot wide", "plot narrow"]
        self.notes = [each.text or "" for each in root.findall("p")]
        for drawing in self.drawings:
            self._check(drawing)

    @staticmethod
    def _check(drawing: ElementTree.Element) -> None:
        layout = NARROW if "narrow" in drawing.attrib["class"] else WIDE
        _, _, width, height = map(float, drawing.attrib["viewBox"].split())
        assert width == layout.width
        assert height > 0
        for element in drawing.iter():
            for name, value in element.attrib.items():
                if name in ("x", "x1", "x2", "cx", "width"):
                    assert -0.5 <= float(value) <= width + 0.5, element.attrib
                if name in ("y", "y1", "y2", "cy", "height"):
                    assert -0.5 <= float(value) <= height + 0.5, element.attrib
                if name in ("d", "points"):
                    assert re.fullmatch(rf"M?{NUMBER},{NUMBER}(?:[L ]{NUMBER},{NUMBER})*", value)
        free: dict[float, float] = {}
        for text in drawing.iter(f"{XML}text"):
            room = elements.text_width(text.text or "", layout.font)
            share = {None: 0.0, "start": 0.0, "middle": 0.5, "end": 1.0}[text.get("text-anchor")]
            x, y = float(text.attrib["x"]), float(text.attrib["y"])
            if turn := text.get("transform"):
                # Upwards, around its own start.
                angle, *center = map(float, turn.removeprefix("rotate(").removesuffix(")").split())
                assert (angle, *center) == (-90, x, y)
                assert y + share * room <= height + 1, text.text
                assert y - (1 - share) * room >= -1, text.text
                continue
            left = x - share * room
            assert left >= -1, text.text
            assert left + room <= width + 1, text.text
            if text.get("class") == "tick" and text.get("text-anchor") == "middle":
                assert left > free.get(y, -math.inf), "two labels of an axis run into each other"
                free[y] = left + room

    def count(self, tag: str, drawing: int = 0) -> int:
        return len(list(self.drawings[drawing].iter(XML + tag)))

    def texts(self, drawing: int = 0) -> list[str]:
        return [each.text or "" for each in self.drawings[drawing].iter(f"{XML}text")]

    def titles(self, drawing: int = 0) -> list[str]:
        return [each.text or "" for each in self.drawings[drawing].iter(f"{XML}title")]

    def filled(self, tag: str = "rect", drawing: int = 0) -> list[ElementTree.Element]:
        return [each for each in self.drawings[drawing].iter(XML + tag) if each.get("class") == "fill"]
