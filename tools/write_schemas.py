"""Writes the JSON Schemas of the command line's outputs to docs/schemas/."""

from __future__ import annotations

from pathlib import Path

from edgecv import schemas

FOLDER = Path(__file__).parent.parent / "docs" / "schemas"


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for verb in schemas.OUTPUTS:
        (FOLDER / f"{verb}.json").write_text(schemas.text(verb))


if __name__ == "__main__":
    main()
