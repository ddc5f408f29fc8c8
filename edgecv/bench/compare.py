"""A benchmark against an earlier one, contender by contender."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
from msgspec.structs import replace

from edgecv.bench.ratios import Compared, Comparison, ratio
from edgecv.bench.report import BenchReport, BenchResult
from edgecv.errors import InputError

Key = tuple[str, str | None, int | None, int, int]


def read_report(path: str) -> BenchReport:
    """The report that `edgecv bench --json` wrote. Raises InputError for any other file."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"compare: {path}: cannot be read: {error.strerror or error}") from error
    try:
        schema = msgspec.json.decode(data).get("schema")
    except (msgspec.DecodeError, AttributeError):
        raise InputError(f"compare: {path}: expected JSON of edgecv bench, got another file") from None
    wanted = BenchReport.__struct_defaults__[BenchReport.__struct_fields__.index("schema")]
    if schema != wanted:
        raise InputError(
            f"compare: {path}: expected JSON of edgecv bench of schema {wanted}, got {schema!r}: measure it "
            "anew with this version"
        )
    try:
        return msgspec.json.decode(data, type=BenchReport)
    except msgspec.ValidationError as error:
        raise InputError(f"compare: {path}: expected JSON of edgecv bench: {error}") from None


def compare(before: BenchReport, after: BenchReport, *, origin: str) -> Comparison:
    """What became of each contender of `after`. origin: the file of `before`.

    Contenders are the same by model, backend, threads, streams and batch; where both runs have one model, it
    may have moved.
    """
    shares = [report.noise.shares for report in (before, after) if report.noise is not None]
    noise = max((p50 for p50, _ in shares), default=0.0), max((least for _, least in shares), default=0.0)
    earlier = {_key(before, result): result for result in before.results}
    return Comparison(
        before=origin,
        noise_p50=noise[0],
        noise_min=noise[1],
        differences=tuple(_differences(before, after)),
        contenders=tuple(
            _compared(earlier.get(_key(after, result)), result, noise) for result in after.results
        ),
    )


def with_comparison(report: BenchReport, before: BenchReport, origin: str) -> BenchReport:
    """The report with what `compare` finds."""
    return replace(report, comparison=compare(before, report, origin=origin))


def _key(report: BenchReport, result: BenchResult) -> Key:
    model = result.model if len(report.config.models) > 1 else ""
    placed = (result.placement or {}).get("backend")
    return model, result.backend or placed, result.threads, result.streams, result.batch


def _compared(before: BenchResult | None, after: BenchResult, noise: tuple[float, float]) -> Compared:
    named = Compared(model=after.model, backend=after.backend, threads=after.threads, batch=after.batch)
    if before is None:
        return replace(named, error="the earlier run has no such contender")
    for which, result in (("earlier", before), ("this", after)):
        if not result.turns:
            why = result.error or result.skipped or "no figures"
            return replace(named, error=f"{which} run: {why}")
    if before.is_alone != after.is_alone:
        return replace(named, error="the network alone in one run, all stages in the other")
    return replace(
        named,
        p50=ratio([turn.p50 for turn in before.turns], [turn.p50 for turn in after.turns], noise[0]),
        min=ratio([turn.min for turn in before.turns], [turn.min for turn in after.turns], noise[1]),
    )


def _differences(before: BenchReport, after: BenchReport) -> Iterator[str]:
    for name, old, new in (
        ("processor", _cpu(before), _cpu(after)),
        ("frame", before.frame, after.frame),
        ("settings", before.config.settings, after.config.settings),
        ("processors pinned", before.config.pin, after.config.pin),
        ("options", before.config.options, after.config.options),
        *_libraries(before, after),
    ):
        if old != new:
            yield f"{name}: {_plain(old)} before, {_plain(new)} now"
    for which, report in (("earlier", before), ("this", after)):
        if report.load is not None and report.load.is_busy:
            yield f"the machine was busy during {which} run"


def _libraries(before: BenchReport, after: BenchReport) -> Iterator[tuple[str, object, object]]:
    old, new = (report.machine.get("libraries") or {} for report in (before, after))
    for name in sorted(old.keys() | new.keys()):
        a, b = str(old.get(name)), str(new.get(name))
        # OpenCV says 5.0.0 where it is loaded, and its package 5.0.0.93.
        if not a.startswith(f"{b}.") and not b.startswith(f"{a}."):
            yield name, a, b


def _cpu(report: BenchReport) -> object:
    return (report.machine.get("cpu") or {}).get("model")


def _plain(value: object) -> str:
    return "none" if value is None else msgspec.json.encode(value).decode()
