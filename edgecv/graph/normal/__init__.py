"""Passes that bring a graph of standard ONNX to its normal form, which is standard ONNX again.

`normalize` has the table of forms. Its stages, in order; later ones rely on what earlier ones leave:
"""

from edgecv import extras

# Every pass is imported behind this door.
with extras.required("models"):
    from edgecv.graph.normal import constants, functions, normalize, opsets
    from edgecv.graph.rewrite import Pass, Stage

LOOPS = Pass("loops", "edgecv.graph.normal.loops:unroll", ("Loop", "Scan"))
RECURRENT = Pass("recurrent", "edgecv.graph.normal.recurrent:unroll", ("LSTM", "GRU", "RNN"))

TIDY: Stage = (constants.FOLD, constants.NOOPS, constants.DEAD)

NEWEST: Stage = (opsets.UPGRADE,)
ONE_FORM: Stage = (
    constants.FOLD,
    functions.BRANCHES,
    LOOPS,
    RECURRENT,
    constants.NOOPS,
    normalize.NORMALIZE,
    constants.EQUAL,
    constants.DEAD,
)
WRITTEN_OUT: Stage = (functions.FUNCTIONS, *TIDY, normalize.NORMALIZE, constants.EQUAL)

STAGES: tuple[Stage, ...] = (NEWEST, ONE_FORM, WRITTEN_OUT)
