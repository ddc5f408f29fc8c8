"""What a shell completes, by click's own mechanism."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete, get_completion_class

from edgecv import backends, zoo
from edgecv.cli import VERBS, cli, completion


def completed(*words: str) -> dict[str, list[str]]:
    """Values by type, of the last word, which is incomplete."""
    *args, incomplete = words
    found: dict[str, list[str]] = {}
    for item in ShellComplete(cli, {}, "edgecv", "_EDGECV_COMPLETE").get_completions(args, incomplete):
        found.setdefault(item.type, []).append(item.value)
    return found


def test_verbs() -> None:
    assert completed("")["plain"] == list(VERBS)
    assert completed("de")["plain"] == ["detect", "demo"]
    assert completed("--ver")["plain"] == ["--version", "--verbose"]


NAMES = sorted({name for each in zoo.entries().values() for name in (each.card.name, *each.card.aliases)})


@pytest.mark.parametrize("verb", ["detect", "classify", "eval", "bench", "verify", "compile"])
def test_models_are_cards_and_paths(verb: str) -> None:
    assert completed(verb, "") == {"file": [""], "plain": NAMES}
    assert completed(verb, "parts-") == {"file": ["parts-"], "plain": ["parts-nano"]}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("bench", "parts-nano", "yolox-nano"), ["yolox-nano", "yolox-nano-416"]),
        (("models", "show", "parts-"), ["parts-nano"]),
        (("models", "pull", "parts-"), ["parts-nano"]),
        (("detect", "m", "s", "--backend", ""), list(completion.BACKENDS)),
        (("bench", "m", "--backend", "simd,o"), ["simd,onnxruntime", "simd,opencv"]),
        (("demo", "--backend", "opencv,simd,"), ["opencv,simd,onnxruntime"]),
        (("bench", "m", "--hint", "l"), ["latency"]),
    ],
)
def test_values(words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(*words)["plain"] == expected


@pytest.mark.parametrize(
    "words",
    [
        ("detect", "m", "pictures/"),
        ("detect", "m", "s", "--json", ""),
        ("detect", "m", "s", "--out", ""),
        ("detect", "m", "s", "--labels", ""),
        ("eval", "m", ""),
        ("bench", "m", "--compare", ""),
        ("convert", ""),
        ("models", "draft", ""),
    ],
)
def test_paths_are_left_to_the_shell(words: tuple[str, ...]) -> None:
    assert completed(*words) == {"file": [words[-1]]}


def test_the_names_of_backends_are_those_of_the_registry() -> None:
    assert tuple(backends.BACKENDS) == completion.BACKENDS


@pytest.mark.parametrize("verb", VERBS)
def test_nothing_long_is_imported(verb: str) -> None:
    code = (
        "import sys; from click.shell_completion import ShellComplete; from edgecv.cli import cli\n"
        "made = ShellComplete(cli, {}, 'edgecv', '_EDGECV_COMPLETE')\n"
        f"made.get_completions([], ''); made.get_completions([{verb!r}], '')\n"
        f"made.get_completions([{verb!r}], '--'); made.get_completions([{verb!r}, '--backend'], '')\n"
        "print([name for name in ('numpy', 'onnx', 'cv2', 'rich', 'edgecv._simd') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_command_answers_shells(shell: str) -> None:
    code = "from edgecv.cli import main; main()"
    asked = {"_EDGECV_COMPLETE": f"{shell}_complete", "COMP_WORDS": "edgecv det", "COMP_CWORD": "1"}
    if shell == "fish":
        asked["COMP_CWORD"] = "det"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | asked
    )
    assert done.returncode == 0, done.stderr
    assert "detect" in done.stdout
    assert "demo" not in done.stdout


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_keeps_the_commas_of_a_value(tmp_path: Path) -> None:
    program = tmp_path / "edgecv"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgecv "$@"\n')
    program.chmod(0o755)
    found = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    script = "env _EDGECV_COMPLETE=fish_source edgecv | source; complete -C 'edgecv bench m --backend simd,o'"
    done = subprocess.run(["fish", "-c", script], capture_output=True, text=True, env=found, check=True)
    assert done.stdout.split() == ["simd,onnxruntime", "simd,opencv"]


def test_the_script_of_fish_splits_once() -> None:
    made = get_completion_class("fish")
    assert made is not None
    assert "split --max 1" in made(cli, {}, "edgecv", "_EDGECV_COMPLETE").source()
