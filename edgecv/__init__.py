"""edgecv: object detectors on embedded computers, with latency that a control loop can trust.

>>> import edgecv
>>> detector = edgecv.load("yolox-nano-416")  # doctest: +SKIP
>>> detections = detector(frame_bgr)  # doctest: +SKIP
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgecv.version import VERSION

if TYPE_CHECKING:
    from edgecv.api import compile, load
    from edgecv.backends.pool import Pool
    from edgecv.frame import Frame
    from edgecv.options import LoadOptions
    from edgecv.pipelines.classifier import Classifier
    from edgecv.pipelines.detector import Detector
    from edgecv.types import Classification, Detections, FrameTransform, Placement, Seen, TensorSpec, Timing

__version__ = VERSION

# Public name -> module; imported when first used, so that `import edgecv` stays light.
_PUBLIC = {
    "load": "edgecv.api",
    "compile": "edgecv.api",
    "Classifier": "edgecv.pipelines.classifier",
    "Detector": "edgecv.pipelines.detector",
    "Classification": "edgecv.types",
    "Detections": "edgecv.types",
    "Frame": "edgecv.frame",
    "FrameTransform": "edgecv.types",
    "LoadOptions": "edgecv.options",
    "Placement": "edgecv.types",
    "Pool": "edgecv.backends.pool",
    "Seen": "edgecv.types",
    "TensorSpec": "edgecv.types",
    "Timing": "edgecv.types",
}

__all__ = [
    "Classification",
    "Classifier",
    "Detections",
    "Detector",
    "Frame",
    "FrameTransform",
    "LoadOptions",
    "Placement",
    "Pool",
    "Seen",
    "TensorSpec",
    "Timing",
    "__version__",
    "compile",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'edgecv' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
