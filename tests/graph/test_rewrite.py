"""Stages of passes, and what their report keeps."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgecv.errors import ModelFileError
from edgecv.graph.ir import to_ir
from edgecv.graph.rewrite import Pass, Report, Rewrite, run_stages
from tests.graph.little import Net


def test_stages_run_in_their_order_each_until_nothing_changes() -> None:
    met: list[str] = []

    def work(name: str, times: int) -> Pass:
        def apply(rewrite: Rewrite) -> None:
            met.append(name)
            rewrite.changed = met.count(name) < times

        return Pass(name, apply)

    net = Net()
    graph = to_ir(net.model(net("Relu", net.input(2))))
    run_stages(graph, ((work("a", 3), work("b", 1)), (work("c", 2),)), Report(), "little")
    assert met == ["a", "b", "a", "b", "a", "b", "c", "c"]


def test_what_never_settles_is_an_error() -> None:
    def restless(rewrite: Rewrite) -> None:
        """Says it changed something."""
        rewrite.changed = True

    net = Net()
    graph: ir.Model = to_ir(net.model(net("Relu", net.input(2))))
    with pytest.raises(ModelFileError, match="little: the passes restless find no end on this graph"):
        run_stages(graph, ((Pass("restless", restless),),), Report(), "little")


def test_misses_of_a_pass_are_those_of_its_last_run() -> None:
    net = Net()
    graph, report = to_ir(net.model(net("Relu", net.input(2)))), Report()
    says = iter(["early", "late"])
    complain = Pass("complain", lambda rewrite: rewrite.miss(next(iter(rewrite.graph)), next(says)))
    complain.run(graph, report)
    complain.run(graph, report)
    assert [missed.why for missed in report.missed] == ["late"]
