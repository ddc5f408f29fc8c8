"""An evaluation's report as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgecv.evaluate.report import ClassResult, Curve, EvalReport
from edgecv.evaluate.tables import FIGURES, other_figures
from edgecv.report import (
    Block,
    Chart,
    Column,
    Facts,
    Failure,
    Failures,
    Page,
    Section,
    Table,
    charts,
)
from edgecv.types import Placement, Timing

HEADLINE = ("AP", "AP50", "AP75", "AR100")
# Classes at each end of the scale that are drawn where there are more than twice as many.
ENDS = 15


def to_page(report: EvalReport, *, model: str, command: str) -> Page:
    """The report with its curves, its classes and what it was measured with.

    model: its name. command: what one types to do it again.
    """
    sections = [
        Section("Accuracy", [_headline(report), _figures(report), *_other_figures(report)]),
        *_failures(report),
        *_curves(report.curves),
        *_classes(report.per_class),
        Section("Conditions", [Facts(_conditions(report))]),
    ]
    return Page(
        title=f"Accuracy of {model}",
        lead=_lead(report),
        command=command,
        sections=sections,
    )


def _lead(report: EvalReport) -> str:
    ap = "No AP: there is no object to find" if report.AP is None else f"AP {report.AP:.4f}"
    images, objects = _count(report.images, "image"), _count(report.objects, "object")
    lead = f"{ap}, on {images} with {objects} of {'/'.join(Path(report.dataset).parts[-2:])}."
    if report.failures:
        lead += f" {_count(len(report.failures), 'image')} could not be evaluated."
    return lead


def _count(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def _headline(report: EvalReport) -> Facts:
    shown = [(label, meaning, getattr(report, name)) for name, label, meaning in FIGURES if name in HEADLINE]
    return Facts(
        {label: None if value is None else f"{value:.3f}" for label, _, value in shown},
        notes={label: meaning for label, meaning, _ in shown},
        large=True,
    )


def _figures(report: EvalReport) -> Table:
    return Table(
        ["Figure", Column("Value", ".4f"), "Over"],
        [(label, getattr(report, name), meaning) for name, label, meaning in FIGURES],
        caption="COCO's twelve figures of boxes",
    )


def _other_figures(report: EvalReport) -> Iterator[Table]:
    for title, found, figures in other_figures(report):
        rows = [(label, getattr(found, name), meaning) for name, label, meaning in figures]
        columns: list[str | Column] = ["Figure", Column("Value", ".4f"), "Over"]
        yield Table(columns, rows, caption=f"COCO's figures of {title}")


def _failures(report: EvalReport) -> Iterator[Section]:
    if report.failures:
        items = [Failure(Path(failure.path).name, failure.error) for failure in report.failures]
        yield Section(
            "Failures",
            [Failures(items)],
            note="These images and their objects are in none of the figures.",
        )


def _curves(curves: Sequence[Curve]) -> Iterator[Section]:
    means = [curve for curve in curves if curve.category is None]
    each = [curve for curve in curves if curve.category is not None]
    blocks: list[Block] = []
    if means:
        drawing = _curve_chart([(f"IoU {curve.iou:.2f}", curve) for curve in means])
        blocks.append(Chart(drawing, "Precision over recall, mean over classes"))
    if len(each) > 1:
        drawing = _curve_chart([(curve.category or "", curve) for curve in each])
        blocks.append(Chart(drawing, "Precision over recall at IoU 0.50, by class"))
    if blocks:
        yield Section("Precision and recall", blocks)


def _curve_chart(curves: Sequence[tuple[str, Curve]]) -> charts.Drawing:
    return charts.lines(
        [
            charts.Series(label, [i / 100 for i in range(len(curve.precision))], curve.precision)
            for label, curve in curves
        ],
        x_label="recall",
        y_label="precision",
        x_at_least=(0, 1),
        y_at_least=(0, 1),
    )


def _classes(per_class: Sequence[ClassResult]) -> Iterator[Section]:
    known = sorted((entry for entry in per_class if entry.AP is not None), key=lambda entry: -(entry.AP or 0))
    rest = [entry for entry in per_class if entry.AP is None]
    if not known:
        return
    blocks: list[Block] = []
    if len(known) > 2 * ENDS:
        blocks.append(_class_chart(known[:ENDS], f"AP of the best {ENDS} classes"))
        blocks.append(_class_chart(known[-ENDS:], f"AP of the worst {ENDS} classes"))
    else:
        blocks.append(_class_chart(known, "AP by class"))
    figures = (Column("AP", ".4f"), Column("AP50", ".4f"), Column("AR 100", ".4f"))
    blocks.append(
        Table(
            ["Class", "Objects", *figures],
            [(entry.name, entry.objects, entry.AP, entry.AP50, entry.AR100) for entry in [*known, *rest]],
            caption="All classes",
        )
    )
    note = f"Without an object here, and in no mean: {len(rest)} of {len(per_class)} classes." if rest else ""
    yield Section("Classes", blocks, note=note)


def _class_chart(entries: Sequence[ClassResult], caption: str) -> Chart:
    items = [charts.Bar(f"{entry.name} ({entry.objects})", entry.AP) for entry in entries]
    return Chart(charts.bars(items, spec=".3f", at_least=(0, 1)), f"{caption}, with their objects")


def _conditions(report: EvalReport) -> dict[str, object]:
    thresholds = report.thresholds
    conf = thresholds.conf
    facts: dict[str, object] = {
        "Dataset": report.dataset,
        "Format": {"coco": "COCO", "yolo": "YOLO"}[report.format],
        "Images": report.images,
        "Objects": report.objects,
        "Confidence": f"{len(conf)} values, one a class" if isinstance(conf, list) else conf,
        "NMS overlap": thresholds.iou,
        "Most detections": thresholds.max_det,
        "Several labels a box": thresholds.multi_label,
        "Classes paired by": report.class_mapping,
    }
    scored = ["boxes", *(name for name in ("masks", "keypoints") if getattr(report, name) is not None)]
    facts["Scored"] = ", ".join(scored)
    if report.not_scored:
        facts["Not scored"] = "; ".join(report.not_scored)
    if report.ignored_classes:
        facts["Not in the dataset"] = ", ".join(report.ignored_classes)
    if report.placement is not None:
        facts["Ran on"] = _ran_on(report.placement)
    facts["Scored by"] = report.scorer
    facts["Took"] = f"{report.seconds:.1f} s, images read in between"
    if report.timing_ms is not None:
        facts["Mean of a frame"] = str(Timing(tuple(report.timing_ms.items())))
    return facts


def _ran_on(placement: dict[str, Any]) -> str:
    fallbacks = tuple((each["backend"], each["reason"]) for each in placement["fallbacks"])
    return str(Placement(**{**placement, "fallbacks": fallbacks}))
