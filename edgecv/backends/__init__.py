"""The registry: which backends there are, which are usable, and which one runs.

A strict name fails with the reason; `"a,b"` is an ordered fallback that the placement records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec

from edgecv import planfile
from edgecv.backends import gate
from edgecv.backends.base import Backend, Check, Compiled, CompileOptions, Sample, Shapes, check_input_bytes
from edgecv.backends.session import Session
from edgecv.errors import (
    BackendUnavailableError,
    DisagreementError,
    EdgeCVError,
    InputError,
    ModelFileError,
    PlacementError,
    UnsupportedOperatorError,
)
from edgecv.registry import Registry
from edgecv.types import by_reason

if TYPE_CHECKING:
    from edgecv.backends.pool import Pool
    from edgecv.container import Container
    from edgecv.graph.model import OnnxModel

__all__ = [
    "BACKENDS",
    "Backend",
    "Check",
    "CompileOptions",
    "Compiled",
    "Sample",
    "Session",
    "compile_model",
    "compile_on",
    "first_choice",
    "open_container",
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
    return list(_usable_names())


def _usable_names() -> Iterator[str]:
    """Likewise, one by one: whether a library can be imported is not asked before it is wanted."""
    return (name for name, backend in BACKENDS.items() if backend.unavailable() is None)


def first_choice(backend: str | None) -> str | None:
    """The backend that is tried first of a list, or of all that are usable; None where there is none."""
    return next(_usable_names(), None) if backend is None else parse_names(backend)[0]


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
    model: OnnxModel,
    backend: str | None,
    options: CompileOptions,
    shapes: Shapes | None = None,
    *,
    pool: Pool | None = None,
    check: Check = Check(),  # noqa: B008 - frozen
) -> Session[Any]:
    """A session on the first backend of the list that can run the model as asked for.

    backend: one name, strict; names with commas, an ordered fallback that the placement records; None,
    all that are usable, in the same way. shapes: of the inputs, to prepare for, so that what a backend cannot
    do with them counts here too. pool: threads to share, on backends that take them; None: threads of its
    own. check: how libraries of others are checked. A list goes on whatever the reason. Raises what the only
    backend raised, or all of them alike, as a wrong shape is; else BackendUnavailableError, with each reason
    once.
    """
    for spec in model.facts.inputs:
        if spec.is_static:
            check_input_bytes(spec, tuple(n for n in spec.shape if isinstance(n, int)))
    names = None if backend is None else parse_names(backend)
    if names is not None and len(names) == 1:
        return _strictly(names[0], model, options, shapes, pool, check)
    errors: dict[str, Exception] = {}
    for name in names or _usable_names():
        failures = [(other, _reason(other, error)) for other, error in errors.items()]
        try:
            return compile_on(name, model, options, shapes, pool, failures, check)
        except (EdgeCVError, NotImplementedError, MemoryError) as error:
            errors[name] = error
    raise _none_runs(errors)


def _reason(name: str, error: Exception) -> str:
    """Why a backend does not run a model, without its name."""
    if isinstance(error, MemoryError):
        return f"not enough memory{str(error) and ': '}{error}"
    return " ".join(str(error).split()).removeprefix(f"{name}: ") or type(error).__name__


def _none_runs(errors: Mapping[str, Exception]) -> EdgeCVError:
    """What is raised when all backends failed, each with an error."""
    if not errors:
        reasons = "; ".join(f"{name}: {b.unavailable()}" for name, b in BACKENDS.items())
        return BackendUnavailableError(f"no backend is usable here: {reasons}")
    told = by_reason((name, _reason(name, error)) for name, error in errors.items())
    first = next(iter(errors.values()))
    if len(errors) > 1 and len(told) == 1 and isinstance(first, EdgeCVError):
        # Nothing that a backend could do anything about.
        return first
    reasons = "; ".join(f"{', '.join(names)}: {why}" for why, names in told.items())
    return BackendUnavailableError(f"none of the backends {', '.join(errors)} can run this model: {reasons}")


def open_container(
    container: Container,
    backend: str | None,
    options: CompileOptions,
    *,
    pool: Pool | None = None,
    network: Callable[[str], OnnxModel] | None = None,
) -> dict[str, Session[Any]]:
    """Sessions on what was compiled and saved before, by stage; only the backend that saved it runs it.

    backend: as for `compile_model`; another one is a PlacementError, or a fallback that is recorded. network:
    of a stage, for shapes that were not saved.
    """
    saver = container.backend
    if saver not in BACKENDS:
        raise ModelFileError(
            f"{container.origin}: a plan of {saver[:40] or 'no backend'}, which this edgecv does not have; "
            f"backends: {', '.join(BACKENDS)}"
        )
    names = [saver] if backend is None else parse_names(backend)
    if saver not in names:
        made_of = container.about.get(planfile.SOURCE, "")[:200]
        raise PlacementError(
            f"backend: {backend} was asked for, and {container.origin} is a plan of {saver}, which no other "
            f"backend runs; ask for {saver}, or give the network that it was compiled from{made_of and ', '}"
            f"{made_of}"
        )
    failures = [(name, f"{container.origin} is a plan of {saver}") for name in names[: names.index(saver)]]
    device = _device(saver, options)
    stages = _usable(saver, pool).open(container, device, options, network)
    with ExitStack() as opened:
        sessions = {}
        for stage, compiled in stages.items():
            _admit(compiled, saver, device, options, failures)
            sessions[stage] = opened.enter_context(compiled.open(pool))
        opened.pop_all()
    return sessions


def compile_on(
    name: str,
    model: OnnxModel,
    options: CompileOptions,
    shapes: Shapes | None = None,
    pool: Pool | None = None,
    failures: Sequence[tuple[str, str]] = (),
    check: Check | None = None,
) -> Session[Any]:
    """A session on one backend, which fails with its own reason alone.

    failures: the backends that were asked for before it, and why they do not run; the placement records them.
    check: how a library of others is checked; None: it is not, and the placement tells nothing of it.
    """
    device = _device(name, options)
    backend = _usable(name, pool)
    backend.examine(model, device, options)
    checked = ""
    if backend.is_guest and check is not None:
        from edgecv.backends import guests

        others = [BACKENDS[other] for other in _usable_names()]
        checked = guests.check(backend, others, model, device, options, shapes, check)
    compiled = backend.compile(model, device, options)
    compiled.placement = msgspec.structs.replace(compiled.placement, check=checked)
    _admit(compiled, name, device, options, failures)
    session = compiled.open(pool)
    if shapes is not None:
        try:
            session.prepare(shapes)
        except BaseException:
            session.close()
            raise
    return session


def _admit(
    compiled: Compiled,
    name: str,
    device: str,
    options: CompileOptions,
    failures: Sequence[tuple[str, str]],
) -> None:
    """Let what came out through the gate, with the backends that were asked for before it."""
    gate.check(compiled.placement, name, device, options)
    compiled.placement = msgspec.structs.replace(compiled.placement, fallbacks=tuple(failures))


def _usable(name: str, pool: Pool | None) -> Backend:
    """The backend of a name. Raises the reason where it cannot be used here, or cannot share threads."""
    backend = BACKENDS[name]
    reason = backend.unavailable()
    if reason is not None:
        raise BackendUnavailableError(f"backend {name} is not usable here: {reason}")
    if pool is not None and not backend.takes_pool:
        able = ", ".join(other for other, each in BACKENDS.items() if each.takes_pool)
        raise PlacementError(f"pool: {name} has threads of its own; backends that share a Pool: {able}")
    return backend


def _device(name: str, options: CompileOptions) -> str:
    return BACKENDS[name].default_device if options.device is None else options.device


def _strictly(
    name: str,
    model: OnnxModel,
    options: CompileOptions,
    shapes: Shapes | None,
    pool: Pool | None,
    check: Check,
) -> Session[Any]:
    """As `compile_on`; an error that others may not have says which of them do not."""
    try:
        return compile_on(name, model, options, shapes, pool, (), check)
    except DisagreementError:
        raise
    except (UnsupportedOperatorError, PlacementError) as error:
        if pool is not None:
            raise
        from edgecv.backends import probe

        others = [other for other in usable() if other != name]
        able = ", ".join(probe.that_compile(model, others, options))
        able = able or "none of the others that are usable here"
        if isinstance(error, UnsupportedOperatorError):
            raise UnsupportedOperatorError(
                f"{error}; backends that can run it: {able}", error.reason
            ) from error
        raise PlacementError(f"{error}; backends that can: {able}") from error
