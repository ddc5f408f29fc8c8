"""Which instruction sets the kernels are built for, and which one runs.

Every native module takes the index from here, so that one process runs one ISA.
"""

from isa cimport isa_best, isa_from_label, isa_is_supported, isa_label, kIsaCount

from edgecv.errors import InputError, UnavailableError
from edgecv.settings import ISA


def built():
    """Labels of the ISAs that this build has kernels for, best last."""
    return tuple(isa_label(i).decode() for i in range(kIsaCount))


def usable():
    """Labels of the built ISAs that this CPU can run, best last."""
    return tuple(isa_label(i).decode() for i in range(kIsaCount) if isa_is_supported(i))


def index(label=None):
    """Index of the ISA to run.

    label: an ISA's label; None takes EDGECV_ISA, or the best usable one when that is unset.
    Raises InputError for a label that is not built in, UnavailableError for one this CPU lacks.
    """
    label = label or ISA.get()
    if not label:
        best = isa_best()
        if best < 0:
            raise UnavailableError(f"edgecv needs one of {', '.join(built())}: this CPU has none")
        return best
    chosen = isa_from_label(label.encode())
    if chosen < 0:
        raise InputError(f"EDGECV_ISA={label}: not built in; one of {', '.join(built())}")
    if not isa_is_supported(chosen):
        raise UnavailableError(
            f"EDGECV_ISA={label}: not supported by this CPU; usable here: {', '.join(usable())}"
        )
    return chosen


def active():
    """Label of the ISA that `index()` chooses."""
    return isa_label(index()).decode()
