"""Every block of code in README, CONTRIBUTING and the book is run, and shows what it prints.

A page reads from top to bottom: its Python blocks share one namespace, and all its blocks one folder, in
which the quick start's first command has been run, `edgecv demo`. `tests/docs/execution.py` says what each
kind of block has to be.

Blocks under `<!-- test: fresh-clone -->` are about a machine that has the sources and nothing else. They
run in a copy of the project, one after the other over all pages, with a new `.venv`.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs import places
from tests.docs.execution import BlockError, Run
from tests.docs.markdown import Block, read

pytest.importorskip("cv2", reason="the pages' pictures need the extra opencv")

BLOCKS = [block for page in places.PAGES for block in read(page).blocks]
HERE = [block for block in BLOCKS if not block.directive]
FRESH = [block for block in BLOCKS if block.directive == places.FRESH_CLONE]
# The chapter whose first block makes the pictures that all others work on.
QUICK_START = places.BOOK / "quickstart.md"
# Chapters whose blocks measure: they take minutes.
MEASURING = (places.BOOK / "benchmarks.md", places.BOOK / "accuracy.md")
FRESH_TIMEOUT_S = 1800.0


def block_id(block: Block) -> str:
    return f"{places.name_of(block.page)}:{block.line}"


def problem_of(block: Block, find_run: Callable[[], Run]) -> str | None:
    """What is wrong with a block, None where nothing is."""
    try:
        find_run().check(block)
    except BlockError as error:
        return f"{block_id(block)}: {error}"
    return None


def fail_with(problem: str | None) -> None:
    """One message instead of the frames of the harness."""
    if problem is not None:
        pytest.fail(problem, pytrace=False)


def one_a_case(blocks: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", blocks, ids=block_id)


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("reader")
    return places.reader_env(folder / "bin", folder / "cache")


@pytest.fixture(scope="module")
def page_run(
    tmp_path_factory: pytest.TempPathFactory, env: dict[str, str]
) -> Iterator[Callable[[Path], Run]]:
    """The run of a page, in a folder of its own."""
    runs: dict[Path, Run] = {}

    def run_of(page: Path) -> Run:
        if page not in runs:
            folder = tmp_path_factory.mktemp(page.stem)
            blocks = [block for block in HERE if block.page == page]
            if page != QUICK_START:
                start = run_of(QUICK_START)
                start.check(start.blocks[0])
                shutil.copytree(start.folder / "demo", folder / "demo")
            runs[page] = Run(blocks, folder, env)
        return runs[page]

    yield run_of
    for run in runs.values():
        run.close()


@pytest.fixture(scope="module")
def fresh_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The run of everything that starts from the sources."""
    folder = tmp_path_factory.mktemp("fresh")
    clone = folder / "edgecv"
    env = places.newcomer_env(folder / "bin", clone)
    reason = places.why_no_packages(env, folder / "probe")
    if reason is not None:
        print(reason)
        if not os.environ.get("CI"):
            pytest.skip(f"pip cannot download here: {reason.splitlines()[-1]}")
        pytest.fail("pip cannot download, and in CI it has to")
    places.copy_project(clone)
    run = Run(FRESH, clone, env, FRESH_TIMEOUT_S)
    yield run
    run.close()


@one_a_case([block for block in HERE if block.page not in MEASURING])
def test_block(block: Block, page_run: Callable[[Path], Run]) -> None:
    fail_with(problem_of(block, lambda: page_run(block.page)))


@pytest.mark.slow
@one_a_case([block for block in HERE if block.page in MEASURING])
def test_block_that_measures(block: Block, page_run: Callable[[Path], Run]) -> None:
    fail_with(problem_of(block, lambda: page_run(block.page)))


@pytest.mark.slow
@one_a_case(FRESH)
def test_block_in_a_fresh_clone(block: Block, fresh_run: Run) -> None:
    fail_with(problem_of(block, lambda: fresh_run))


def test_every_block_is_run() -> None:
    assert len(HERE) + len(FRESH) == len(BLOCKS), "known directives: " + places.FRESH_CLONE
    assert HERE
    assert FRESH
