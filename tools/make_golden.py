"""Make the golden tensors of cards: run once where a model is known to be right, commit what it writes.

    python tools/make_golden.py NAME...

Writes `golden.npz` beside each card and its size and hashes into the card. The outputs come from
onnxruntime on one thread; `edgecv verify` holds every machine and backend against them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys

import msgspec
import numpy as np

import edgecv
from edgecv import card as cards
from edgecv import zoo
from edgecv.card import FileEntry, Golden
from edgecv.media.synthetic import synthetic_frame
from edgecv.verify import golden_tensors

FRAME_WH = (500, 375)


def make(name: str) -> None:
    entry = zoo.find(name)
    path = entry.folder / "golden.npz"
    frame = synthetic_frame(*FRAME_WH)
    with edgecv.load(name, backend="onnxruntime", threads=1, warmup=False) as detector:
        blob = detector.new_blob()
        detector.preprocess(frame, blob[0])
        tensors = golden_tensors(frame, detector.infer(blob))
    np.savez_compressed(path, **tensors)
    data = path.read_bytes()
    golden = Golden(
        file=FileEntry(path=path.name, sha256=hashlib.sha256(data).hexdigest(), bytes=len(data)),
        blob_sha256=hashlib.sha256(blob.tobytes()).hexdigest(),
    )
    card_path = entry.folder / cards.FILE_NAME
    # The card as written, not as read: its labels may be a file of their own, and defaults are left out.
    written = json.loads(card_path.read_bytes())
    written["golden"] = msgspec.to_builtins(golden)
    card_path.write_text(json.dumps(written, indent=2, ensure_ascii=False) + "\n")
    print(f"{name}: {len(data)} bytes")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="+", metavar="NAME")
    for name in parser.parse_args().names:
        make(name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
