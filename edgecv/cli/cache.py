"""edgecv cache: what was compiled and kept, and how to be rid of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click
import msgspec

from edgecv.cli import options, output

if TYPE_CHECKING:
    from edgecv.backends.cache import Cache


@click.group(name="cache")
def command() -> None:
    """List or clear what was compiled and kept, so that the next start need not compile it."""


@command.command("list")
@options.json_option
def list_entries(json_path: str | None) -> int:
    """List what is kept, what was used last first.

    Tells what each was made from, for which backend, and its size.
    """
    cache = _cache()
    rows = _rows(cache)
    total = sum(row["bytes"] for row in rows)
    if json_path:
        document = {"folder": cache.folder, "limit_bytes": cache.limit, "bytes": total, "entries": rows}
        output.write_json(json_path, document)
        return 0

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("made from", "backend", "bytes", "last use", "key"):
        table.add_column(column, no_wrap=True, justify="right" if column == "bytes" else "left")
    for row in rows:
        backend = "damaged" if row["error"] else row["backend"]
        table.add_row(row["source"], backend, f"{row['bytes']:,}", row["used"], row["key"][:12])
    output.print_table(table)
    click.echo(f"{cache.folder}: {_counted(len(rows))}, {total:,} bytes of at most {cache.limit:,}")
    return 0


@command.command("clear")
@options.json_option
def clear(json_path: str | None) -> int:
    """Remove all that was compiled and kept. Downloads stay."""
    cache = _cache()
    count, size = cache.clear()
    if json_path:
        output.write_json(json_path, {"folder": cache.folder, "entries": count, "bytes": size})
        return 0
    click.echo(f"{cache.folder}: removed {_counted(count)}, {size:,} bytes")
    return 0


def _counted(n: int) -> str:
    return f"{n} {'entry' if n == 1 else 'entries'}"


def _cache() -> Cache:
    """The folder of the settings, also where EDGECV_CACHE_BYTES says that nothing more is to be kept."""
    from edgecv.backends import cache
    from edgecv.errors import UnavailableError
    from edgecv.settings import CACHE_BYTES, cache_folder

    folder = cache_folder(cache.FOLDER)
    if folder is None:
        raise UnavailableError("cache: this user has no home folder: let EDGECV_CACHE name one")
    found = cache.Cache(folder, CACHE_BYTES.get())
    problem = found.problem()
    if problem is not None:
        raise UnavailableError(f"cache: {problem}")
    return found


def _rows(cache: Cache) -> list[dict[str, Any]]:
    import datetime

    from edgecv.backends.cache import contents_of

    rows = []
    for entry in cache.entries():
        contents = contents_of(entry)
        if contents is None:
            continue
        used = datetime.datetime.fromtimestamp(entry.used_ns / 1e9).astimezone()
        about = msgspec.structs.asdict(contents)
        about["error"] = about.pop("problem")
        rows.append(
            {
                **about,
                "key": entry.key,
                "path": entry.path,
                "bytes": entry.bytes,
                "used": used.isoformat(" ", "seconds"),
            }
        )
    return rows
