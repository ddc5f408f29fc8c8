"""edgecv compile: what the simd engine makes of a model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgecv.cli import options, output

if TYPE_CHECKING:
    from rich.table import Table

    from edgecv.engine.explain import Explanation, StepFacts
    from edgecv.options import LoadOptions

# Of a list in the text; all of it stands in the JSON.
MOST_FORMS, MOST_MISSED = 4, 12
# Columns that a node's name gets however narrow the terminal is.
LEAST_NODE = 12
# Headings of the table, and whether numbers stand below.
_COLUMNS = (
    *(("#", True), ("node", False), ("step", False), ("result", False)),
    *(("MFLOP", True), ("KB", True), ("of work", True)),
)
# The column of nodes.
_NODE = 1


@click.command(name="compile")
@options.model_argument
@options.load_options(only=("threads", "weights", "labels", "mean", "imgsz"))
@click.option(
    "--isa",
    metavar="LABEL",
    help="Instruction set to compile for: sse42, avx2, avx512 or neon. Default: the one that runs here.",
)
@click.option(
    "--out",
    metavar="FILE.ecv",
    help="Write the plan, which loads in no time and without ONNX, and runs on simd.",
)
@click.option("--explain", is_flag=True, help="Tell every pass, fusion, step, layout and size.")
@options.json_option
def command(
    model: str,
    options: LoadOptions,
    isa: str | None,
    out: str | None,
    explain: bool,
    json_path: str | None,
) -> int:
    """Compile MODEL for the simd engine, tell what it became, and keep it with --out.

    MODEL: a card's name, a card, or any network file that is read, whatever its outputs mean.

    --explain shows what was fused, and why something was not; for every step its kernel, how its result
    lies, its work and the bytes that it moves; and the graph before and after. `edgecv bench --layers` tells
    what each step takes.

    A plan that is kept holds all of the model's networks, their weights packed for one instruction set and
    their steps cut for so many --threads, and its card. It is for one size of input, and for the engine of
    this version of edgecv: another refuses it.
    """
    from edgecv.explain import explain_model

    path = None if out is None else Path(out)
    found = explain_model(model, options, isa=isa, out=path)
    if path is not None:
        output.tell_written(path, _mega(path.stat().st_size))
    if json_path:
        networks = [{"stage": stage, **explanation.as_dict()} for stage, explanation in found.items()]
        output.write_json(json_path, {"model": model, "networks": networks})
    if json_path == "-":
        return 0
    for i, (stage, explanation) in enumerate(found.items()):
        name = model if len(found) == 1 else f"{model}, {stage}"
        click.echo(("\n" if i else "") + "\n".join([name, *_summary(explanation)]))
        if explain:
            click.echo("\n" + "\n".join(_passes(explanation)))
            output.print_table(to_table(explanation, output.width()))
            click.echo(f"b{explanation.lanes}: in blocks of {explanation.lanes} channels; else row-major")
            for when in ("before", "after"):
                counts = explanation.before if when == "before" else explanation.after
                click.echo(f"\nthe graph {when}: {_counted(counts)}")
                click.echo(explanation.before_text if when == "before" else explanation.after_text)
    return 0


def _summary(explanation: Explanation) -> list[str]:
    copies = [step for step in explanation.steps if step.is_copy]
    n_before, n_after = (sum(counts.values()) for counts in (explanation.before, explanation.after))
    shapes = (
        ", ".join(f"{name} {_times(shape)}" for name, shape in named.items())
        for named in (explanation.inputs, explanation.outputs)
    )
    runs = f"{explanation.threads} thread" + ("s" if explanation.threads > 1 else "")
    lines = [
        ("network", " -> ".join(shapes)),
        *(("remark", line) for line in explanation.remarks),
        ("engine", f"{explanation.isa}, {explanation.lanes} floats a vector, {runs}"),
        ("work", f"{_giga(explanation.flops)}FLOP, {_mega(explanation.moved_bytes)} read and written"),
        ("operators", f"{n_before} in the file, {n_after} after the passes"),
        ("views", f"{sum(explanation.views.values())} of these need no step: {_counted(explanation.views)}"),
        ("steps", f"{len(explanation.steps)}: {_counted(Counter(s.op for s in explanation.steps))}"),
        ("copies", f"{len(copies)} of these only copy, {_mega(sum(s.bytes for s in copies))}"),
        (
            "memory",
            f"{_mega(explanation.memory_bytes)}: weights {_mega(explanation.weight_bytes)}, "
            f"arena {_mega(explanation.arena_bytes)}, scratch {_scratch(explanation)}",
        ),
        ("", f"the arena's values side by side would take {_mega(explanation.values_bytes)}"),
    ]
    return [f"  {what:10} {text}" for what, text in lines]


def _passes(explanation: Explanation) -> list[str]:
    lines = ["passes, and how often each did what:"]
    forms: dict[str, Counter[str]] = {}
    for name, _, what in explanation.changes:
        forms.setdefault(name, Counter())[what] += 1
    for name, counts in forms.items():
        shown = [f"{count} {what}" for what, count in counts.most_common(MOST_FORMS)]
        lines.append(f"  {name}: {'; '.join(_with_rest(shown, len(counts)))}")
    lines.append("not done:" if explanation.missed else "not done: nothing that a pass looked at")
    shown = [f"{name}: {node}: {why}" for name, node, why in explanation.missed[:MOST_MISSED]]
    return lines + [f"  {line}" for line in _with_rest(shown, len(explanation.missed))]


def _with_rest(shown: list[str], count: int) -> list[str]:
    return shown if len(shown) == count else [*shown, f"and {count - len(shown)} more: --json has all"]


def to_table(explanation: Explanation, width: int) -> Table:
    """A row for each step, in so many columns.

    Names of nodes are cut at their front to fit; where that is not enough, what a step does is folded.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    rows = [_row(i, step, explanation.flops) for i, step in enumerate(explanation.steps)]
    used = [max(len(heading), *(len(row[c]) for row in rows)) for c, (heading, _) in enumerate(_COLUMNS)]
    room = max(width - sum(used) + used[_NODE] - 2 * len(used), LEAST_NODE)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for heading, is_number in _COLUMNS:
        side = "right" if is_number else "left"
        table.add_column(heading, justify=side, no_wrap=heading != "step")  # type: ignore[arg-type]
    for row in rows:
        row[_NODE] = _cut(row[_NODE], room)
        table.add_row(*map(escape, row))
    return table


def _row(number: int, step: StepFacts, flops: float) -> list[str]:
    shape = step.result[1:] if step.result[:1] == (1,) else step.result
    return [
        str(number),
        step.label,
        f"{step.op} {step.how}".rstrip(),
        _times(shape) + (f" b{step.blocks}" if step.blocks else ""),
        f"{step.flops / 1e6:.2f}",
        f"{step.bytes / 1e3:.1f}",
        f"{step.flops / flops:.1%}" if flops else "-",
    ]


def _cut(name: str, room: int) -> str:
    return name if len(name) <= room else f"…{name[1 - room :]}"


def _counted(counts: dict[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{count} {name}" for name, count in ordered) or "none"


def _times(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def _giga(number: float) -> str:
    return f"{number / 1e9:.3f} G" if number >= 1e8 else f"{number / 1e6:.3f} M"


def _scratch(explanation: Explanation) -> str:
    size = explanation.scratch_bytes
    return f"not known for {explanation.isa} here" if size is None else _mega(size)


def _mega(size: int) -> str:
    return f"{size / 1e6:.2f} MB" if size >= 1e5 else f"{size / 1e3:.1f} KB"
