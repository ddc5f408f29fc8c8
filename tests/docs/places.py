"""Where the pages are, and the two places in which their blocks are run."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(BOOK.glob("*.md"))]

# What the compilers made. It stays current in a copy, since times are copied too.
COMPILED = [Path("build", name) for name in ("cython", "kernels", "modules")]
# Nothing of edgecv is installed there. `make` finds it newer than the Makefile.
ORACLE = Path(".venv-oracle")

# The directive of blocks that are about a machine on which nothing is installed yet.
FRESH_CLONE = "fresh-clone"


def name_of(page: Path) -> str:
    """A page as the tests name it."""
    return page.relative_to(ROOT).as_posix()


def commands(folder: Path, programs: Mapping[str, list[str]]) -> Path:
    """A folder for PATH: each program is one that runs a command line."""
    folder.mkdir(parents=True)
    for name, command in programs.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {shlex.join(command)} "$@"\n')
        path.chmod(0o755)
    return folder


def reader_env(bin_folder: Path, cache: Path) -> dict[str, str]:
    """The environment of a reader who has installed edgecv: this interpreter's, and none of its settings."""
    env = _without_settings()
    python = [sys.executable]
    commands(bin_folder, {"python": python, "python3": python, "edgecv": [*python, "-m", "edgecv"]})
    env["PATH"] = os.pathsep.join([str(bin_folder), env["PATH"]])
    env["PYTHONPATH"] = str(ROOT)
    env["EDGECV_CACHE"] = str(cache)
    return env


def newcomer_env(bin_folder: Path, clone: Path) -> dict[str, str]:
    """The environment of a reader who has Python and the sources, and `.venv` activated once it is there."""
    env = _without_settings()
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        env.pop(name, None)
    own_bin = str(Path(sys.executable).parent)
    path = [folder for folder in env["PATH"].split(os.pathsep) if folder != own_bin]
    python = [getattr(sys, "_base_executable", sys.executable)]
    commands(bin_folder, {"python": python, "python3": python})
    env["PATH"] = os.pathsep.join([str(clone / ".venv" / "bin"), str(bin_folder), *path])
    # `make test` on a page shall not run the tests that run the page.
    env["PYTEST_ARGS"] = "tests/test_settings.py"
    return env


def copy_project(target: Path) -> None:
    """The project as git sees it, with what is not committed yet; skips where it is no checkout.

    With it goes what has been compiled, which would take minutes each time, and the oracle.
    """
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip(f"not a git checkout: {listed.stderr.strip()}")
    for name in filter(None, listed.stdout.split("\0")):
        # A file that git knows may have been deleted since.
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)
    for folder in COMPILED:
        if (ROOT / folder).is_dir():
            shutil.copytree(ROOT / folder, target / folder)
    if (ROOT / ORACLE).is_dir():
        (target / ORACLE).symlink_to(ROOT / ORACLE)


def why_no_packages(env: Mapping[str, str], folder: Path) -> str | None:
    """What pip says where it cannot bring a small package, None where it can."""
    probe = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--dest", folder, "click"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if probe.returncode == 0 else f"{probe.stdout}\n{probe.stderr}".strip()


def _without_settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("EDGECV_")}
