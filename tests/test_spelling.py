"""American spelling, in code and comments, messages, documentation and names of files."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

_VERBS = (
    "author|categor|character|custom|emphas|equal|final|general|global|harmon|initial|local|maxim|memor|minim|"
    "modern|normal|optim|organ|parallel|penal|prior|quant|random|raster|real|recogn|regular|serial|special|"
    "stabil|standard|summar|symbol|synchron|token|util|vector|visual"
)
# Parts of words, so that names in code are found too. `cancelled` is not among them: asyncio writes
# CancelledError, and so does edgecv.
BRITISH = re.compile(
    rf"(?:{_VERBS})is[aei]|isation|analyse|analysing|catalyse|"
    r"armour|behaviour|colour|favour|flavour|harbour|honour|humour|labour|neighbour|rigour|rumour|vapour|"
    r"centr(?:e|ing)|fibre|litre|lustre|metre(?!t)|spectre|theatre|"
    r"(?:bevel|channel|fuel|label|level|model|signal|total|travel|tunnel)l(?:ed|er|ing)|"
    r"fulfil(?!l)|instalment|skilful|artefact|catalogue|analogue|dialogue|defence|licence|offence|"
    r"(?<![a-z])grey|aluminium|sceptic|judgement|programme(?![drs])|learnt|spelt|whilst|amongst",
    re.IGNORECASE,
)
# File -> why it may.
EXCEPTIONS = {"tests/test_spelling.py": "names them"}


def tracked_files() -> list[str]:
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: git does not tell which files are tracked")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if (ROOT / name).is_file()]


def text_of(path: Path) -> str:
    """Nothing of a file that is not text."""
    data = path.read_bytes()
    return "" if b"\0" in data else data.decode(errors="replace")


def british(text: str) -> list[str]:
    return [found.group() for found in BRITISH.finditer(text)]


def test_no_british_spelling() -> None:
    files = tracked_files()
    assert len(files) > 500
    found = [
        f"{name}:{number}: {word}"
        for name in files
        if name not in EXCEPTIONS
        for number, line in enumerate([name, *text_of(ROOT / name).splitlines()])
        for word in british(line)
    ]
    assert not found, "write American spelling, as the field does:\n" + "\n".join(found)


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_exceptions_are_needed(name: str) -> None:
    assert british(text_of(ROOT / name))


@pytest.mark.parametrize(
    "text",
    ["recognise()", "_centre_crop", "NormalisedBox", "unlabelled", "Grey", "quantisation", "millimetres"],
)
def test_british_is_found(text: str) -> None:
    assert british(text)


@pytest.mark.parametrize(
    "text",
    [
        "recognize, center, normalized, unlabeled, gray, quantization, millimeters, fulfilled, analysis",
        "depthwise noise raises a realistic specialist's promise; a precise parameter that is called",
        "cancelled, programmed, central, spectrum, smaller, filled, four hours, metrics, geometry",
    ],
)
def test_american_is_left_alone(text: str) -> None:
    assert british(text) == []
