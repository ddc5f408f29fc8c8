"""Sources of frames, sinks for pictures and results, and drawing.

OpenCV is loaded by the first call that needs it; where it is missing, that call raises
MissingExtraError.
"""

from edgecv.media.base import Source
from edgecv.media.drawing import class_color, draw, draw_classes
from edgecv.media.formats import IMAGE_SUFFIXES, VIDEO_SUFFIXES
from edgecv.media.images import decode_image, read_image
from edgecv.media.items import Failure, Frame, Gap, Item, Kind, Picture
from edgecv.media.jsonlines import JsonLinesSink
from edgecv.media.raw import RawFormat
from edgecv.media.sinks import IMAGE_OUTPUTS, VIDEO_OUTPUTS, Sink, open_sink
from edgecv.media.sources import open_source
from edgecv.media.window import Window

__all__ = [
    "IMAGE_OUTPUTS",
    "IMAGE_SUFFIXES",
    "VIDEO_OUTPUTS",
    "VIDEO_SUFFIXES",
    "Failure",
    "Frame",
    "Gap",
    "Item",
    "JsonLinesSink",
    "Kind",
    "Picture",
    "RawFormat",
    "Sink",
    "Source",
    "Window",
    "class_color",
    "decode_image",
    "draw",
    "draw_classes",
    "open_sink",
    "open_source",
    "read_image",
]
