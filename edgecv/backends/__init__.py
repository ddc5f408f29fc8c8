"""The registry: which backends there are, which are usable, and which one runs.

A strict name fails with the reason; `"a,b"` is an ordered fallback that the placement records.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from edgecv.backends import probe
from edgecv.backends.base import Backend, CompileOptions, Session, Shapes, check_input_bytes
from edgecv.backends.onnxruntime import OnnxRuntimeBackend
from edgecv.backends.opencv import OpenCVBackend
from edgecv.backends.simd import SimdBackend
from edgecv.errors import (
    BackendError,
    BackendUnavailableError,
    InputError,
    UnavailableError,
    UnsupportedOperatorError,
)
from edgecv.graph.model import OnnxModel

__all__ = ["BACKENDS", "Backend", "CompileOptions", "Session", "compile_model", "parse_names", "usable"]

# In the order in which `backend=None` tries them.
BACKENDS: dict[str, Backend] = {b.name: b for b in (OnnxRuntimeBackend(), OpenCVBackend(), SimdBackend())}


def usable() -> list[str]:
    """Names of the backends that can be used here, best first."""
    return [name for name, backend in BACKENDS.items() if backend.unavailable() is None]


def parse_names(text: str) -> list[str]:
    """The names in `"a,b"`. Raises InputError for an unknown one."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in BACKENDS:
            raise InputError(f"backend: expected one of {', '.join(BACKENDS)}, got {name!r}")
    if len(set(names)) != len(names):
        raise InputError(f"backend: {text!r} names a backend twice")
    return names


def compile_model(
    model: OnnxModel, backend: str | None, options: CompileOptions, shapes: Shapes | None = None
) -> Session[Any]:
    """A session on the first backend of the list that can run the model as asked for.

    backend: one name, strict; names with commas, an ordered fallback that the placement records; None,
    the first usable one. shapes: of the inputs, to prepare for, so that what a backend cannot do with them
    counts here too. Raises what the only or last backend raised, with all reasons.
    """
    for spec in model.facts.inputs:
        if spec.is_static:
            check_input_bytes(spec, tuple(n for n in spec.shape if isinstance(n, int)))
    if backend is None:
        names = usable()
        if not names:
            reasons = "; ".join(f"{name}: {b.unavailable()}" for name, b in BACKENDS.items())
            raise BackendUnavailableError(f"no backend is usable here: {reasons}")
        return _strictly(names[0], model, options, shapes)
    names = parse_names(backend)
    if len(names) == 1:
        return _strictly(names[0], model, options, shapes)
    failures: list[tuple[str, str]] = []
    for name in names:
        try:
            session = _compile_on(name, model, options, shapes)
        except (UnavailableError, BackendError) as error:
            failures.append((name, str(error)))
        else:
            session.placement = replace(session.placement, fallbacks=tuple(failures))
            return session
    reasons = "; ".join(f"{name}: {why}" for name, why in failures)
    raise BackendUnavailableError(f"none of the backends {backend} can run this model: {reasons}")


def _compile_on(name: str, model: OnnxModel, options: CompileOptions, shapes: Shapes | None) -> Session[Any]:
    reason = BACKENDS[name].unavailable()
    if reason is not None:
        raise BackendUnavailableError(f"backend {name} is not usable here: {reason}")
    session = BACKENDS[name].compile(model, options)
    if shapes is not None:
        try:
            session.prepare(shapes)
        except BaseException:
            session.close()
            raise
    return session


def _strictly(name: str, model: OnnxModel, options: CompileOptions, shapes: Shapes | None) -> Session[Any]:
    """As `_compile_on`; the error about an operator also says which other backends take the model."""
    try:
        return _compile_on(name, model, options, shapes)
    except UnsupportedOperatorError as error:
        others = [other for other in usable() if other != name]
        able = ", ".join(probe.that_compile(model, others, options))
        able = able or "none of the others that are usable here"
        raise UnsupportedOperatorError(f"{error}; backends that can run it: {able}", error.reason) from error
