"""What the tests of the documentation need to know of a Markdown page: blocks, headings, links, inline code.

Block structure after CommonMark 0.31: fences of ``` or ~~~, in lists too, indented code, and comments.
Written for pages of this project, so headings are those with #, and what a page should not use (a block
of code in a quotation, a fence that never ends) is an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"(`{3,})([^`]*)|(~{3,})(.*)")
_LIST_ITEM = re.compile(r"([-+*]|\d{1,9}[.)])( +|$)")
_RULE = re.compile(r"([-_*])[ \t]*(?:\1[ \t]*){2,}")
_HEADING = re.compile(r"(#{1,6})[ \t]+(.*?)[ \t]*#*")
_DIRECTIVE = re.compile(r"<!--\s*test:\s*(.*?)\s*-->")
_CODE_SPAN = re.compile(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", re.DOTALL)
_TARGET = re.compile(r"\]\(\s*<?([^()\s<>]+)>?(?:\s+[\"'][^)]*)?\)|^\s*\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
_HTML_TARGET = re.compile(r"(?:src|href)=\"([^\"]+)\"")


class MarkdownError(Exception):
    """A page that these tests cannot read; the message says where and why."""


@dataclass(frozen=True)
class Block:
    """A block of code. line: of its first fence, from 1. info: what stands behind the fence.

    text: its lines, without the indentation of the list that it stands in. directive: of a comment
    `<!-- test: … -->` right before it.
    """

    page: Path
    line: int
    info: str
    text: str
    directive: str = ""

    @property
    def kind(self) -> str:
        """The first word behind the fence; "indented" for a block without one."""
        return self.info.split(maxsplit=1)[0] if self.info else ""

    @property
    def title(self) -> str:
        """The file that the block is, as `title="…"` behind the fence names it; empty for others."""
        match = re.search(r'title="([^"]*)"', self.info)
        return match[1] if match else ""


@dataclass
class Page:
    """A page in parts. prose: (line, text) of each line outside blocks and comments."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    prose: list[tuple[int, str]] = field(default_factory=list)
    headings: list[str] = field(default_factory=list)

    @property
    def anchors(self) -> list[str]:
        """The anchors of the headings, as GitHub makes them."""
        seen: Counter[str] = Counter()
        found = []
        for heading in self.headings:
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
            slug = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
            found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
        return found

    def code_spans(self) -> Iterator[tuple[int, str]]:
        """(line, text) of the code in the running text."""
        for line, paragraph in self._paragraphs():
            for match in _CODE_SPAN.finditer(paragraph):
                code = " ".join(match[2].split()).replace("\\|", "|")
                yield line + paragraph.count("\n", 0, match.start()), code

    def links(self) -> Iterator[tuple[int, str]]:
        """(line, target) of every link and picture."""
        for line, paragraph in self._paragraphs():
            bare = _CODE_SPAN.sub(lambda match: "`" + "\n" * match[0].count("\n"), paragraph)
            for pattern in (_TARGET, _HTML_TARGET):
                for match in pattern.finditer(bare):
                    target = next(group for group in match.groups() if group)
                    yield line + bare.count("\n", 0, match.start()), target

    def tables(self) -> Iterator[tuple[str, list[list[str]]]]:
        """(heading above it, rows of cells) of every table, without its head and the line under it."""
        heading, rows = "", list[list[str]]()
        for _, text in [*self.prose, (0, "")]:
            if match := _HEADING.fullmatch(text.strip()):
                heading = match[2]
            if text.lstrip().startswith("|"):
                cells = re.split(r"(?<!\\)\|", text.strip().strip("|"))
                rows.append([cell.strip() for cell in cells])
            elif rows:
                yield heading, rows[2:]
                rows = []

    def _paragraphs(self) -> Iterator[tuple[int, str]]:
        """(first line, text) of what stands together; a row of a table stands alone."""
        first, lines, expected = 0, list[str](), 0
        for number, text in [*self.prose, (-1, "")]:
            is_row = text.lstrip().startswith("|")
            if lines and (not text.strip() or is_row or number != expected):
                yield first, "\n".join(lines)
                lines = []
            if is_row:
                yield number, text
            elif text.strip():
                first = first if lines else number
                lines.append(text)
            expected = number + 1


def read(path: Path) -> Page:
    """The page in a file."""
    return parse(path.read_text("utf-8"), path)


def parse(text: str, path: Path = Path("page.md")) -> Page:
    """A page from its text. path: for messages and for the blocks."""
    return _Parser(path).parse(text)


class _Parser:
    """Goes through the lines once. Columns count from the left edge of the page."""

    def __init__(self, path: Path) -> None:
        self._page = Page(path)
        self._items: list[int] = []  # columns at which the content of the open list items starts
        self._in_paragraph = False
        self._comment: str | None = None
        self._directive = ""

    def parse(self, text: str) -> Page:
        lines = [line.expandtabs(4) for line in text.splitlines()]
        at = 0
        while at < len(lines):
            at = self._line(lines, at)
        if self._comment is not None:
            raise MarkdownError(f"{self._page.path}: a comment that never ends")
        return self._page

    def _line(self, lines: list[str], at: int) -> int:
        """Take the line, and what belongs to it. Returns the place of the next one."""
        line = lines[at]
        if self._comment is not None:
            self._continue_comment(line, at)
            return at + 1
        if not line.strip():
            self._in_paragraph = False
            self._page.prose.append((at + 1, ""))
            return at + 1
        column = len(line) - len(line.lstrip())
        while self._items and column < self._items[-1]:
            self._items.pop()
        if self._is_indented(column):
            return self._indented(lines, at)
        column = self._open_items(line, column)
        rest = line[column:]
        if self._is_indented(column):
            return self._indented(lines, at, column)
        if match := _FENCE.fullmatch(rest):
            return self._fenced(lines, at, column, match[1] or match[3], match[2] or match[4] or "")
        if rest.startswith("<!--"):
            self._in_paragraph = False
            self._comment = ""
            self._continue_comment(rest, at)
            return at + 1
        self._text(line, rest, at)
        return at + 1

    def _is_indented(self, column: int) -> bool:
        return not self._in_paragraph and column - (self._items[-1] if self._items else 0) >= 4

    def _open_items(self, line: str, column: int) -> int:
        """Open the list items that start on the line. Returns the column of what follows them."""
        while not _RULE.fullmatch(line[column:]) and (match := _LIST_ITEM.match(line, column)):
            # A list that interrupts a paragraph has to start with 1, or it is a number in the text.
            if self._in_paragraph and not self._items and match[1][0].isdigit() and match[1][:-1] != "1":
                break
            spaces = len(match[2])
            # Content that starts far to the right is indented code, one space behind the marker.
            self._items.append(match.end(1) + (spaces if 1 <= spaces <= 4 else 1))
            self._in_paragraph = False
            column = match.end()
            if spaces > 4:
                break
        return column

    def _fenced(self, lines: list[str], at: int, column: int, fence: str, info: str) -> int:
        closing = re.compile(rf" {{0,3}}{re.escape(fence[0])}{{{len(fence)},}} *")
        base = self._items[-1] if self._items else 0
        content: list[str] = []
        for end in range(at + 1, len(lines)):
            line = lines[end]
            if line[:base].strip():
                break
            if closing.fullmatch(line[base:]):
                self._add(at, info.strip(), [_dedented(text, column) for text in content])
                return end + 1
            content.append(line)
        raise MarkdownError(f"{self._page.path}:{at + 1}: a fence that never ends")

    def _indented(self, lines: list[str], at: int, column: int | None = None) -> int:
        base = (self._items[-1] if self._items else 0) + 4
        end = at
        while end < len(lines) and (not lines[end][:base].strip() or end == at):
            end += 1
        content = [_dedented(line, base) for line in lines[at:end]]
        if column is not None:
            content[0] = lines[at][column:]
        self._add(at, "indented", "\n".join(content).rstrip().split("\n"))
        return end

    def _add(self, at: int, info: str, lines: list[str]) -> None:
        text = "".join(f"{line}\n" for line in lines)
        self._page.blocks.append(Block(self._page.path, at + 1, info, text, self._directive))
        self._directive = ""
        self._in_paragraph = False
        self._page.prose.append((at + 1, ""))

    def _continue_comment(self, line: str, at: int) -> None:
        assert self._comment is not None
        self._comment += line + "\n"
        if "-->" not in line:
            return
        if match := _DIRECTIVE.match(self._comment):
            self._directive = match[1]
        self._comment = None

    def _text(self, line: str, rest: str, at: int) -> None:
        if self._directive:
            where = f"{self._page.path}:{at + 1}"
            raise MarkdownError(f"{where}: `<!-- test: {self._directive} -->` stands before no block")
        if rest.startswith(">") and re.search(r"```|~~~", rest):
            raise MarkdownError(f"{self._page.path}:{at + 1}: a block in a quotation cannot be tested")
        heading = _HEADING.fullmatch(rest)
        if heading:
            self._page.headings.append(heading[2])
        self._in_paragraph = not (heading or _RULE.fullmatch(rest))
        self._page.prose.append((at + 1, line))


def _dedented(line: str, columns: int) -> str:
    """Without as many leading spaces, or as many as there are."""
    return line[min(columns, len(line) - len(line.lstrip(" "))) :]
