"""edgecv backends: what is usable here, and why the rest is not."""

from __future__ import annotations

from typing import Any

import click

from edgecv.cli import options, output


@click.command(name="backends")
@options.json_option
def command(json_path: str | None) -> int:
    """Say which backends are usable here, with their devices, and why the others are not."""
    from edgecv import machine
    from edgecv.backends import BACKENDS

    rows: list[dict[str, Any]] = []
    for name, backend in BACKENDS.items():
        reason = backend.unavailable()
        rows.append(
            {
                "backend": name,
                "usable": reason is None,
                "version": backend.version() if reason is None else None,
                "devices": list(backend.devices()) if reason is None else [],
                "reason": reason,
            }
        )
    identity = machine.identity()
    if json_path:
        output.write_json(json_path, {"backends": rows, "machine": identity})
        return 0

    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    click.echo(machine.describe(identity))
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("backend", "usable", "version", "devices"):
        table.add_column(column, no_wrap=True)
    for row in rows:
        usable = "yes" if row["usable"] else "no"
        table.add_row(row["backend"], usable, row["version"] or "", ", ".join(row["devices"]))
    output.print_table(table)
    for row in rows:
        if not row["usable"]:
            click.echo(f"{row['backend']}: {row['reason']}")
    return 0
