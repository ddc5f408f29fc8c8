"""The reader of Markdown pages, against markdown-it's CommonMark and on the pages of this project."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.markdown import MarkdownError, Page, parse, read

markdown_it = pytest.importorskip("markdown_it", reason="the second opinion comes with rich")

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

STRUCTURES = {
    "fence": "text\n\n```sh\nls\n```\n",
    "tildes": "~~~python\nprint('```')\n~~~\n",
    "longer fence": "````text\n```\ninside\n```\n````\n",
    "closing fence may be longer": "```text\na\n`````\nafter `x`\n",
    "info with words": '``` python title="a b.py"\nx = 1\n```\n',
    "shorter or other fence inside": "```text\n~~~\n``\n``` not closing\n```\n",
    "in a list": "- first:\n\n  ```sh\n  ls\n    deeper\n  ```\n\n- second\n",
    "in a numbered list": "10. first:\n\n    ```sh\n    ls\n    ```\n",
    "in a list in a list": "- a\n  - b\n\n    ```text\n    x\n    ```\n",
    "right behind a marker": "- ```sh\n  ls\n  ```\n",
    "after a list": "- a\n\n```sh\nls\n```\n",
    "indented a little": "  ```text\n  a\n b\n     c\n   ```\n",
    "interrupts a paragraph": "text\n```sh\nls\n```\n",
    "empty": "```text\n```\n",
    "blank lines inside": "```text\n\na\n\n\nb\n\n```\n",
    "indented code": "text\n\n    code\n\n    more\n\ntext\n",
    "indented code in a list": "- item\n\n      code\n\ntext\n",
    "no indented code in a paragraph": "text\n    goes on\n",
    "indented code behind a marker": "-     code\n\ntext\n",
    "a rule is no list": "* * *\n\n    code\n",
    "a number in a paragraph": "in the year\n1999. it\n    was\n",
    "inline code is no fence": "``` not a fence ```\n",
    "comment": "<!-- hidden\n```sh\nls\n```\n-->\n\n```text\nx\n```\n",
    "spans": "a `b` ``c ` d`` `e\nf` and \\| | `g`\n",
    "headings": "# One\n\n## Two `code` ##\n\ntext\n### Three\n\n    # not one\n",
    "links": '[a](b.md#c) ![d](e.png) [f](<g.md> "h") `[no](x)`\n',
    "table": "| a | b |\n|---|---|\n| `x` | [y](z.md) |\n",
}


def second_opinion(text: str) -> dict[str, list[object]]:
    """What markdown-it finds in a page."""
    tokens = markdown_it.MarkdownIt("commonmark").enable("table").parse(text)
    found: dict[str, list[object]] = {"blocks": [], "headings": 0, "spans": [], "links": []}  # type: ignore[dict-item]
    headings = 0
    for token in tokens:
        if token.type == "fence":
            found["blocks"].append((token.map[0] + 1, token.info.strip(), token.content))
        elif token.type == "code_block":
            found["blocks"].append((token.map[0] + 1, "indented", token.content.rstrip("\n") + "\n"))
        elif token.type == "heading_open":
            headings += 1
        for child in token.children or []:
            if child.type == "code_inline":
                found["spans"].append(" ".join(child.content.split()))
            elif child.type in ("link_open", "image"):
                found["links"].append(child.attrs.get("href") or child.attrs.get("src"))
    found["headings"] = [headings]
    return found


def opinion(page: Page) -> dict[str, list[object]]:
    return {
        "blocks": [(block.line, block.info, block.text) for block in page.blocks],
        "headings": [len(page.headings)],
        "spans": [code for _, code in page.code_spans()],
        "links": [target for _, target in page.links()],
    }


@pytest.mark.parametrize("text", STRUCTURES.values(), ids=STRUCTURES)
def test_structure(text: str) -> None:
    assert opinion(parse(text)) == second_opinion(text)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_own_pages(path: Path) -> None:
    assert opinion(read(path)) == second_opinion(path.read_text("utf-8"))


def test_directive_belongs_to_the_next_block() -> None:
    text = "<!-- test: fresh-clone -->\n```sh\nmake\n```\n\n```sh\nls\n```\n"
    assert [block.directive for block in parse(text).blocks] == ["fresh-clone", ""]


def test_title() -> None:
    first, second = parse('```python title="a/b.py"\n```\n\n```python\n```\n').blocks
    assert (first.kind, first.title, second.title) == ("python", "a/b.py", "")


def test_anchors() -> None:
    text = "# A head, *and* `code_x`!\n\n## A [link](x.md) here\n\n## Same\n\n## Same\n"
    assert parse(text).anchors == ["a-head-and-code_x", "a-link-here", "same", "same-1"]


def test_tables() -> None:
    text = "## H\n\n| a | b |\n|---|---|\n| `x` | 1 \\| 2 |\n| y | |\n\ntext\n"
    assert list(parse(text).tables()) == [("H", [["`x`", "1 \\| 2"], ["y", ""]])]


WRONG = {
    "open fence": ("```sh\nls\n", "1: a fence that never ends"),
    "fence that leaves its list": ("- ```sh\nls\n", "1: a fence that never ends"),
    "open comment": ("<!-- a\n\ntext\n", "a comment that never ends"),
    "lost directive": ("<!-- test: x -->\ntext\n", "2: `<!-- test: x -->` stands before no block"),
    "quotation": ("> ```sh\n> ls\n> ```\n", "1: a block in a quotation"),
}


@pytest.mark.parametrize(("text", "message"), WRONG.values(), ids=WRONG)
def test_pages_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(MarkdownError) as caught:
        parse(text)
    assert message in str(caught.value)
