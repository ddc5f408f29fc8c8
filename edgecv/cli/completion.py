"""What a shell completes, through click: names that are known without importing what they name."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, FishComplete

# In the order in which they are tried where none is named.
BACKENDS = ("simd", "onnxruntime", "opencv")


class Fish(FishComplete):
    """click's, but that a value with commas stays whole."""

    source_template = FishComplete.source_template.replace('string split ","', 'string split --max 1 ","')


def files(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The shell's own completion of paths."""
    return [CompletionItem(incomplete, type="file")]


def models(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Cards by name and alias, and paths."""
    from edgecv.cardnames import card_paths

    names = [name for name in sorted(card_paths()) if name.startswith(incomplete)]
    # In bash the mark for paths clears what stands before it.
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]


def cards(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Cards alone."""
    return models(context, parameter, incomplete)[1:]


def backends(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The next of names with commas between them."""
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [
        CompletionItem(f"{before}{comma}{name}")
        for name in BACKENDS
        if name.startswith(last) and name not in taken
    ]
