"""The gate: what came out of a backend is what was asked for, or it does not run.

Backends read back what runs and say so in a placement; whatever the backend, it is compared here.
"""

from __future__ import annotations

from edgecv.backends.base import CompileOptions
from edgecv.errors import PlacementError
from edgecv.types import Placement

# Stored precision -> those that compute with its values at no loss.
_AS_PRECISE = {
    "fp32": ("fp32",),
    "fp16": ("fp16", "fp32"),
    "bf16": ("bf16", "fp32"),
    # Eight bits fit the significands of all of them.
    "int8": ("int8", "bf16", "fp16", "fp32"),
}


def check(placement: Placement, name: str, device: str, options: CompileOptions) -> None:
    """Raise PlacementError unless a placement is what was asked for.

    name, device: of the backend that was asked, and where it was to run. A device other than the CPU may say
    0 threads, which any number fits.
    """
    _same("backend", name, placement.backend, name)
    _same("device", device, placement.device, name)
    if placement.threads or device == "cpu":
        _same("threads", options.threads, placement.threads, name)
    if options.precision is not None:
        _same("precision", options.precision, placement.precision, name, _why(placement))
    elif placement.precision not in _AS_PRECISE.get(placement.stored, ()):
        raise PlacementError(
            f"{name}: the model stores {placement.stored}, and {placement.precision} would be computed, "
            f"which is less precise; ask for precision={placement.precision} where that will do"
        )


def _same(what: str, asked: object, got: object, name: str, why: str = "") -> None:
    if asked != got:
        raise PlacementError(f"{name}: {what} {asked} was asked for, and {got} would run{why}")


def _why(placement: Placement) -> str:
    return (
        f": the model stores {placement.stored}, which this backend computes in {placement.precision}; ask "
        f"for precision={placement.precision}, or for none, or convert the model"
    )
