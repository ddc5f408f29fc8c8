"""The runner of blocks: what is wrong with a page must fail, at the right place."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecv.errors import CardError
from tests.docs.execution import BlockError, Run, check_json, compare
from tests.docs.markdown import Block, parse

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "page"
    path.mkdir()
    return path


@pytest.fixture
def runs(folder: Path) -> Iterator[list[Run]]:
    """Runs that are closed in the end."""
    opened: list[Run] = []
    yield opened
    for run in opened:
        run.close()


def start(text: str, folder: Path, runs: list[Run], timeout_s: float = 60.0) -> tuple[Run, list[Block]]:
    blocks = parse(text, folder / "page.md").blocks
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = Run(blocks, folder, env, timeout_s)
    runs.append(run)
    return run, blocks


def fences(*blocks: str) -> str:
    """Blocks, each written as `info: text`."""
    parts = (block.partition(":") for block in blocks)
    return "\n\n".join(f"```{info}\n{text.strip()}\n```" for info, _, text in parts)


GOOD = {
    "one namespace": fences("python: x = 1", "python: assert x == 1"),
    "one folder": fences("python: open('a', 'w').write('1')", "sh: grep -q 1 a", "python: open('a')"),
    "output of python": fences("python: print('one', 2.5)", "text: one 7"),
    "output of a shell": fences("sh: echo out; echo err >&2", "text: out\nerr"),
    "output of the last block only": fences("python: print('a')", "python: print('b')", "text: b"),
    "file": fences('python title="m/one.py": y = 2', "python: from m.one import y\nassert y == 2"),
    "json": fences('json: {"a": [1]}'),
    "head": fences('json: {"type": "yolov8", "output": "out"}'),
    "json file": fences('json title="a.json": {"a": 1}', "sh: test -s a.json"),
    "dataclass": fences(
        "python: from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int",
        "python: assert A(1).x == 1",
    ),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_good_pages(text: str, folder: Path, runs: list[Run]) -> None:
    run, blocks = start(text, folder, runs)
    for block in blocks:
        run.check(block)


BAD = {
    "unknown kind": ("```rust\n```", "unknown kind of block: 'rust'"),
    "no kind": ("```\n```", "unknown kind of block: ''"),
    "indented": ("    ls\n", "unknown kind of block: 'indented'"),
    "python": (fences("python: x = 1\ny = x / 0"), "ZeroDivisionError"),
    "syntax": (fences("python: def"), "SyntaxError"),
    "exit": (fences("python: raise SystemExit(0)"), "SystemExit"),
    "crash": (fences("python: import os; os._exit(3)"), "the interpreter ended"),
    "warning": (fences("python: import warnings; warnings.warn('old')"), "UserWarning: old"),
    "shell": (fences("sh: false\ntrue"), "exit code 1"),
    "pipe": (fences("sh: false | cat"), "exit code 1"),
    "unset variable": (fences("sh: echo $NOT_SET_ANYWHERE"), "exit code 1"),
    "missing program": (fences("sh: edgecv-of-nobody"), "exit code 127"),
    "output of nothing": (fences("text: hello"), "nothing printed this"),
    "output of a file": (fences('python title="a.py": print(1)', "text: 1 one"), "nothing printed this"),
    "json": (fences("json: {'a': 1}"), "not JSON"),
    "outside": (fences('python title="../a.py": x = 1'), "outside the page's folder"),
}


@pytest.mark.parametrize(("text", "message"), BAD.values(), ids=BAD)
def test_bad_pages(text: str, message: str, folder: Path, runs: list[Run]) -> None:
    run, blocks = start(text, folder, runs)
    with pytest.raises(BlockError) as caught:
        run.check(blocks[-1])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "block", ["sh: sleep 60 & wait", "python: import time; time.sleep(60)"], ids=["shell", "python"]
)
def test_a_block_that_hangs_is_ended(block: str, folder: Path, runs: list[Run]) -> None:
    run, blocks = start(fences(block), folder, runs, timeout_s=0.5)
    with pytest.raises(BlockError, match=r"no end within 0\.5 s"):
        run.check(blocks[0])


def test_blocks_after_a_failure_are_not_run(folder: Path, runs: list[Run]) -> None:
    text = fences("sh: true", "sh: false", "sh: touch ran", "text: never")
    run, blocks = start(text, folder, runs)
    run.check(blocks[0])
    for block in blocks[2:]:
        with pytest.raises(BlockError, match=r"not run: the block at page\.md:5 failed"):
            run.check(block)
    with pytest.raises(BlockError, match="exit code 1"):
        run.check(blocks[1])
    assert not (folder / "ran").exists()


def test_a_single_block_runs_those_before_it_once(folder: Path, runs: list[Run]) -> None:
    run, blocks = start(fences("sh: echo x >> log", "sh: test $(wc -l < log) = 1"), folder, runs)
    run.check(blocks[1])
    run.check(blocks[0])
    run.check(blocks[1])


def test_tracebacks_name_the_line_of_the_page(folder: Path, runs: list[Run]) -> None:
    run, blocks = start("# Page\n\n" + fences("python: x = 1\nassert x == 2"), folder, runs)
    with pytest.raises(BlockError, match=r'page\.md", line 5'):
        run.check(blocks[0])


SAME = {
    "figures": ("took 1.25 ms of 3", "took 17 ms of 120\n"),
    "exponents": ("1e-05 of 0.001", "2.5e-7 of 1\n"),
    "widths": ("a    1\n───\nb", "a  1000\n────────\nb"),
    "colors": ("ok", "\x1b[32mok\x1b[0m\n"),
    "blank lines": ("a\n\nb", "\na\nb\n\n"),
    "any text": ("CPU … 2 threads", "CPU Some Model, 4 threads"),
    "any lines": ("first\n…\nlast", "first\n1\n2\nlast"),
    "no lines": ("first\n…\nlast", "first\nlast"),
}


@pytest.mark.parametrize(("shown", "printed"), SAME.values(), ids=SAME)
def test_same_output(shown: str, printed: str) -> None:
    compare(shown, printed)


OTHER = {
    "word": ("nut 0.9", "bolt 0.9", "-nut #"),
    "more": ("a", "a\nb", "+b"),
    "less": ("a\nb", "a", "-b"),
    "order": ("a\nb", "b\na", "-b"),
    "missing figure": ("a 1", "a", "-a #"),
    "pattern signs": ("a.c (d)", "abc d", r"-a.c (d)"),
    "any text ends with its line": ("a … z", "a\nz", "-a … z"),
    "nothing shown": ("… 12\n…", "a", "no word"),
}


@pytest.mark.parametrize(("shown", "printed", "message"), OTHER.values(), ids=OTHER)
def test_other_output(shown: str, printed: str, message: str) -> None:
    with pytest.raises(BlockError) as caught:
        compare(shown, printed)
    assert message in str(caught.value)


def test_figures_of_an_exact_block() -> None:
    compare("nut  9 …\n", "nut 9 at 12\n", exact=True)
    compare("nut 8", "nut 9")
    with pytest.raises(BlockError, match="-nut 8"):
        compare("nut 8", "nut 9", exact=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param('{"schema": 2, "name": "x"}', "missing required field `task`", id="card"),
        pytest.param('{"type": "yolox", "stride": 8}', "unknown field `stride`", id="head"),
    ],
)
def test_json_of_a_card_follows_its_schema(text: str, message: str) -> None:
    with pytest.raises(CardError, match=message):
        check_json(text)
