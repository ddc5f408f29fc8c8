"""Where a network's time goes on the simd engine: each layer's time beside what the processor can do."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from edgecv import machine
from edgecv.bench.peak import Peak
from edgecv.bench.report import BenchConfig
from edgecv.bench.worker import pin as pin_process
from edgecv.engine.explain import Explanation, StepFacts
from edgecv.errors import InputError
from edgecv.explain import explain_model
from edgecv.options import LoadOptions

BACKEND = "simd"


class _Struct(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Layer(_Struct, frozen=True, kw_only=True):
    """One step of the engine.

    op, label, how: its kernel's family, the node that it is for, its form. result: shape. flops: additions
    and multiplications of the operator. bytes: read and written, weights included. ms: the least of all runs,
    and what the rates are taken of: gflops_per_s, gbytes_per_s. of_peak: the first over the measured peak,
    from 0 to 1. of_time: its share of the network's time.
    """

    op: str
    label: str
    how: str
    result: tuple[int, ...]
    flops: float
    bytes: int
    ms: float
    gflops_per_s: float
    gbytes_per_s: float
    of_peak: float
    of_time: float

    @property
    def name(self) -> str:
        """What it does, and for which node."""
        return f"{self.op} {self.how}".rstrip() + f", {self.label}"


class NetworkLayers(_Struct, frozen=True, kw_only=True):
    """One network at one number of threads.

    stage: of a model with several networks. peak_gflops_per_s: the fastest convolution that was found on the
    same kernels and threads, before and after this network. ms: of its layers together, which a whole run
    comes to but for the way into it. floor_ms: what its flops take at the peak.
    """

    stage: str
    isa: str
    threads: int
    peak_gflops_per_s: float
    flops: float
    bytes: int
    ms: float
    floor_ms: float
    layers: tuple[Layer, ...]


class LayersReport(_Struct, frozen=True, kw_only=True):
    """What `measure_layers` found. runs: of which each layer's least time is told. pin: processors, or
    None.
    """

    schema: int = 1
    model: str
    runs: int
    pin: tuple[int, ...] | None
    machine: dict[str, Any]
    networks: tuple[NetworkLayers, ...]

    def as_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = msgspec.to_builtins(self)
        return plain


def measure_layers(
    model: str,
    options: LoadOptions | None = None,
    *,
    threads: Sequence[int] = (1,),
    runs: int = 200,
    pin: tuple[int, ...] | None = None,
) -> LayersReport:
    """Run a model on the engine, on noise, and time each layer.

    model, options: as for `edgecv.explain.explain_model`, but for threads: each count is measured by itself.
    pin: processors; n threads stay on the first n of them, and the caller is put back where it was. Runs in
    this process. Raises InputError, and what `explain_model` raises.
    """
    if not 1 <= runs <= 1 << 20:
        raise InputError(f"frames: expected 1 to {1 << 20}, got {runs}")
    BenchConfig(models=(model,), threads=tuple(threads), pin=pin).check()
    networks: list[NetworkLayers] = []
    for count in threads:
        with _pinned(None if pin is None else pin[:count]), Peak(count) as peak:
            peak.measure()
            one = msgspec.structs.replace(options or LoadOptions(), threads=count)
            found = explain_model(model, one, repeats=runs)
            peak.measure()
            networks += [_network(stage, each, peak.gflops_per_s) for stage, each in found.items()]
    return LayersReport(model=model, runs=runs, pin=pin, machine=machine.identity(), networks=tuple(networks))


def _network(stage: str, found: Explanation, peak: float) -> NetworkLayers:
    # A clock cannot tell less.
    total_ns = max(found.ns or 0.0, 1.0)
    return NetworkLayers(
        stage=stage,
        isa=found.isa,
        threads=found.threads,
        peak_gflops_per_s=peak,
        flops=found.flops,
        bytes=found.moved_bytes,
        ms=total_ns / 1e6,
        floor_ms=found.flops / peak / 1e6,
        layers=tuple(_layer(step, total_ns, peak) for step in found.steps),
    )


def _layer(step: StepFacts, total_ns: float, peak: float) -> Layer:
    ns = max(step.ns or 0.0, 1.0)
    return Layer(
        op=step.op,
        label=step.label,
        how=step.how,
        result=step.result,
        flops=step.flops,
        bytes=step.bytes,
        ms=ns / 1e6,
        gflops_per_s=step.flops / ns,
        gbytes_per_s=step.bytes / ns,
        of_peak=step.flops / ns / peak,
        of_time=ns / total_ns,
    )


@contextlib.contextmanager
def _pinned(cpus: Sequence[int] | None) -> Iterator[None]:
    if cpus is None:
        yield
        return
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    pin_process(cpus)
    try:
        yield
    finally:
        pin_process(sorted(before))
