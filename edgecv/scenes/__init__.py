"""Generated scenes of nuts, bolts and washers with exact boxes, masks and poses.

A small renderer: solids given by inequalities are met by one ray a pixel and four at edges, metal mirrors
a room with soft lamps, shadows are cast by the same rays. The same seed gives the same bytes on the same
machine with the same versions of NumPy and OpenCV, which is needed (extra `opencv`).
"""

from edgecv.scenes.belt import make_belt
from edgecv.scenes.coco import CocoFolder, CocoReport, mask_to_rle, write_coco
from edgecv.scenes.generate import SceneSettings, generate
from edgecv.scenes.scene import make_scene
from edgecv.scenes.sensor import degrade
from edgecv.scenes.world import CLASSES, BeltSpec, Camera, Part, Pose, Scene, SceneSpec

__all__ = [
    "CLASSES",
    "BeltSpec",
    "Camera",
    "CocoFolder",
    "CocoReport",
    "Part",
    "Pose",
    "Scene",
    "SceneSettings",
    "SceneSpec",
    "degrade",
    "generate",
    "make_belt",
    "make_scene",
    "mask_to_rle",
    "write_coco",
]
