"""The registry: which backends there are, which are usable, and which one runs.

A strict name fails with the reason; `"a,b"` is an ordered fallback that the placement records.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgecv.backends.base import Backend, CompileOptions, Session, Shapes, check_input_bytes
from edgecv.errors import (
    BackendError,
    BackendUnavailableError,
    InputError,
    PlacementError,
    UnavailableError,
    UnsupportedOperatorError,
)
from edgecv.registry import Registry

if TYPE_CHECKING:
    from edgecv.engine.saved import SavedStage
    from edgecv.graph.model import OnnxModel

__all__ = [
    "BACKENDS",
    "Backend",
    "CompileOptions",
    "Session",
    "compile_model",
    "open_plan",
    "parse_names",
    "usable",
]


_CLASSES = {"simd": "SimdBackend", "onnxruntime": "OnnxRuntimeBackend", "opencv": "OpenCVBackend"}


def _backend(name: str) -> Backend:
    made: Backend = getattr(import_module(f"edgecv.backends.{name}"), _CLASSES[name])()
    return made


# In the order in which `backend=None` tries them.
BACKENDS: MutableMapping[str, Backend] = Registry(_CLASSES, _backend)


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
    all that are usable, in the same way. shapes: of the inputs, to prepare for, so that what a backend cannot
    do with them counts here too. Raises what the only or last backend raised, with all reasons.
    """
    for spec in model.facts.inputs:
        if spec.is_static:
            check_input_bytes(spec, tuple(n for n in spec.shape if isinstance(n, int)))
    names = usable() if backend is None else parse_names(backend)
    if not names:
        reasons = "; ".join(f"{name}: {b.unavailable()}" for name, b in BACKENDS.items())
        raise BackendUnavailableError(f"no backend is usable here: {reasons}")
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
    raise BackendUnavailableError(f"none of the backends {', '.join(names)} can run this model: {reasons}")


def open_plan(plan: SavedStage, backend: str | None, options: CompileOptions) -> Session[Any]:
    """A session on a stage of a plan that was compiled before, which only `simd` runs.

    backend: as for `compile_model`; another one is a PlacementError, or a fallback that is recorded.
    """
    from edgecv.backends.simd import SimdBackend

    simd = BACKENDS["simd"]
    assert isinstance(simd, SimdBackend)
    names = [simd.name] if backend is None else parse_names(backend)
    whys = tuple((name, f"{plan.origin} is a plan of simd") for name in names if name != simd.name)
    if simd.name not in names:
        raise PlacementError(
            f"backend: {backend} was asked for, and {plan.origin} is a plan of simd, which no other backend "
            f"runs; ask for simd, or give the network that it was compiled from, {plan.source}"
        )
    reason = simd.unavailable()
    if reason is not None:
        raise BackendUnavailableError(f"backend simd is not usable here: {reason}")
    session = simd.open(plan, options)
    before = names.index(simd.name)
    session.placement = replace(session.placement, fallbacks=whys[:before])
    return session


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
        from edgecv.backends import probe

        others = [other for other in usable() if other != name]
        able = ", ".join(probe.that_compile(model, others, options))
        able = able or "none of the others that are usable here"
        raise UnsupportedOperatorError(f"{error}; backends that can run it: {able}", error.reason) from error
