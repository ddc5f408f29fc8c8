"""What a page holds, as a browser would read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

# Elements that a page is made of; anything else came from somebody's text.
ELEMENTS = {
    "html", "head", "meta", "title", "link", "style", "body", "header", "main", "nav", "section", "h1", "h2",
    "h3", "p", "a", "span", "small", "strong", "time", "dl", "dt", "dd", "div", "ul", "li", "figure",
    "figcaption", "table", "thead", "tbody", "tr", "th", "td", "pre", "code", "img", "svg", "g", "text",
    "line", "path", "rect", "circle", "polygon",
}  # fmt: skip
VOID = {"meta", "link", "img"}


@dataclass
class Element:
    """A start tag, and the text below it."""

    tag: str
    attributes: dict[str, str | None]
    text: str = ""


@dataclass
class Reader(HTMLParser):
    """All elements in the order in which they start."""

    elements: list[Element] = field(default_factory=list)
    _open: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, dict(attrs))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open.pop().tag == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data

    def all(self, tag: str, class_: str | None = None) -> list[Element]:
        """The elements of a tag, and of a class."""
        return [
            element
            for element in self.elements
            if element.tag == tag
            and (class_ is None or class_ in (element.attributes.get("class") or "").split())
        ]


def read(html: str) -> Reader:
    """The page, which has to be well formed."""
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert not reader._open, f"not closed: {[element.tag for element in reader._open]}"
    return reader


def check_self_contained(html: str) -> Reader:
    """The page runs nothing, fetches nothing, and has no element of somebody else's."""
    page = read(html)
    ids = [element.attributes["id"] for element in page.elements if "id" in element.attributes]
    assert len(ids) == len(set(ids))
    for element in page.elements:
        assert element.tag in ELEMENTS, element
        for name, value in element.attributes.items():
            assert not name.startswith("on"), element
            assert name != "style", element
            if name in ("src", "href", "xlink:href", "action", "data", "srcset"):
                assert value is not None
                assert value.startswith("data:") or value.removeprefix("#") in ids, element
    style = page.all("style")
    assert len(style) == 1
    assert "@import" not in style[0].text
    assert "url(" not in style[0].text
    assert html.startswith("<!DOCTYPE html>")
    policy = [each.attributes.get("content") or "" for each in page.all("meta")]
    assert any("default-src 'none'" in each for each in policy)
    return page
