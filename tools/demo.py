"""`make demo`: detect objects in one photo, and say plainly what is missing when that cannot be done."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edgecv import cli, zoo
from edgecv.errors import EdgeCVError
from edgecv.settings import MODELS

NO_PHOTO = """\
make demo: which photo? Name one:

    make demo PHOTO=street.jpg
"""
NO_MODEL = """\
make demo: no model to run: {reason}

Either let EDGECV_MODELS name a folder that holds the file of one of these cards
({names}):

    EDGECV_MODELS=~/models make demo PHOTO={photo}

or download it, with its checksum checked (needs a network):

    .venv/bin/edgecv models pull {model}
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--photo", required=True)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    if not args.photo:
        sys.stderr.write(NO_PHOTO)
        return 2
    if not Path(args.model).exists():
        try:
            zoo.files_of(zoo.find(args.model))
        except EdgeCVError as error:
            names = ", ".join(zoo.entries())
            sys.stderr.write(NO_MODEL.format(reason=error, names=names, photo=args.photo, model=args.model))
            return error.exit_code
    out = Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    picture = out / f"{Path(args.photo).stem}_detected.png"
    code = cli.main(["detect", args.model, args.photo, "--out", str(picture)])
    if code == 0:
        searched = "" if not MODELS.get() else f" (models from {', '.join(str(p) for p in MODELS.get())})"
        print(f"wrote {picture}{searched}")
    return code


if __name__ == "__main__":
    sys.exit(main())
