"""Writes the tables of docs/models.md: what the project reads, and what the tests compare it with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "models.md"


def text() -> str:
    """The page with its tables as they have to be; what stands between them is written by hand."""
    sys.path.insert(0, str(ROOT))
    from tests.heads import families

    page = PAGE.read_text("utf-8")
    for name, table in (("families", families.table()), ("legend", families.legend())):
        start, end = f"<!-- {name}: written by tools/write_models.py -->\n\n", f"\n<!-- end of {name} -->"
        pattern = re.escape(start) + ".*?" + re.escape(end)
        page, count = re.subn(pattern, lambda _, made=start + table + end: made, page, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{PAGE}: expected one {start.strip()} … {end.strip()}, got {count}")
    return page


def main() -> None:
    PAGE.write_text(text(), "utf-8")


if __name__ == "__main__":
    main()
