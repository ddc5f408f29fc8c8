"""A drawing as text: inside a page, or as a picture of its own. Nothing else writes SVG."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup, escape

from edgecv.report.charts.drawing import Drawing, View
from edgecv.report.charts.elements import Attribute, Element, Point
from edgecv.report.values import clean

FILES = resources.files("edgecv.report")
STYLES = ("colors.css", "chart.css")
NAMESPACE = "http://www.w3.org/2000/svg"
MARGIN = 12


def inline(drawing: Drawing) -> Markup:
    """The drawing at both sizes and its notes, for a page that holds the styles."""
    views = [_view(view, drawing.description) for view in (drawing.wide, drawing.narrow)]
    notes = [f'<p class="plot-note">{_text(note)}</p>' for note in drawing.notes]
    return Markup(f"<div>{''.join(views)}{''.join(notes)}</div>")


def picture(drawing: Drawing, title: str) -> str:
    """The wide view as an SVG file, with its styles, on a ground of the page's color."""
    width, height = drawing.wide.size_wh
    room = f"{-MARGIN} {-MARGIN} {width + 2 * MARGIN:g} {round(height, 1) + 2 * MARGIN:g}"
    style = "\n".join(FILES.joinpath(name).read_text(encoding="utf-8") for name in STYLES)
    return (
        f'<svg xmlns="{NAMESPACE}" viewBox="{room}" class="{_class(drawing.wide)}" role="img">\n'
        f"<title>{_text(title)}</title>\n<desc>{_text(drawing.description)}</desc>\n"
        f'<style>\n{style}</style>\n<rect x="{-MARGIN}" y="{-MARGIN}" width="100%" height="100%" '
        f'fill="var(--card)"/>\n{_content(drawing.wide.elements)}</svg>\n'
    )


def _view(view: View, description: str) -> str:
    width, height = map(_number, view.size_wh)
    return (
        f'<svg xmlns="{NAMESPACE}" viewBox="0 0 {width} {height}" class="{_class(view)}" role="img" '
        f'aria-label="{_text(description)}">{_content(view.elements)}</svg>'
    )


def _class(view: View) -> str:
    return f"plot {view.layout.name}"


def _content(children: tuple[Element | str, ...]) -> str:
    return "".join(_text(child) if isinstance(child, str) else _element(child) for child in children)


def _element(element: Element) -> str:
    written = "".join(f' {name}="{_attribute(name, value)}"' for name, value in element.attributes)
    content = _content(element.children)
    start = f"<{element.name}{written}"
    return f"{start}>{content}</{element.name}>" if content else f"{start}/>"


def _attribute(name: str, value: Attribute) -> str:
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, tuple):
        return "M" + "L".join(map(_point, value)) if name == "d" else " ".join(map(_point, value))
    return _number(value)


def _point(point: Point) -> str:
    return f"{_number(point[0])},{_number(point[1])}"


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(words: str) -> str:
    return str(escape(clean(words)))
