"""Put a trained network into this folder: two ONNX files, hashes in their cards, golden tensors, figures."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from edgecv import card as cards
from edgecv.card import FileEntry

FOLDER = Path(__file__).parent
GOLDEN_TOOL = FOLDER.parents[1] / "tools" / "make_golden.py"
NAMES = {
    "parts-nano.onnx": "model.json",
    "parts-nano-dynamic.onnx": "parts-nano-dynamic.model.json",
}


def publish(out: Path) -> None:
    """From a training's folder into the card's."""
    for name, card_name in NAMES.items():
        shutil.copyfile(out / name, FOLDER / name)
        path = FOLDER / card_name
        card = cards.parse(path.read_bytes(), origin=str(path))
        path.write_text(cards.dumps(card.with_files({cards.NETWORK: (entry(FOLDER / name),)})))
    for name in ("training.json", "loss.svg", "accuracy.svg"):
        shutil.copyfile(out / name, FOLDER / name)
    subprocess.run([sys.executable, str(GOLDEN_TOOL), "parts-nano"], check=True)


def entry(path: Path) -> FileEntry:
    """The card's entry of a file beside it."""
    data = path.read_bytes()
    return FileEntry(path=path.name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data))
