"""A body somewhere in the world, and what it is made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgecv.scenes.bodies import Body
from edgecv.scenes.finish import Finish
from edgecv.scenes.world import FloatArray, Pose


@dataclass(frozen=True, eq=False)
class Placed:
    """A body at its place."""

    body: Body
    pose: Pose
    finish: Finish

    @property
    def to_world(self) -> FloatArray:
        """The body's frame to world directions, (3, 3): the pose, and the deformation before it."""
        if self.body.deform is None:
            return self.pose.rotation
        result: FloatArray = self.pose.rotation @ self.body.deform
        return result

    @property
    def to_body(self) -> FloatArray:
        """World directions to the body's frame, the inverse of `to_world`."""
        if self.body.deform is None:
            return self.pose.rotation.T
        result: FloatArray = np.linalg.inv(self.body.deform) @ self.pose.rotation.T
        return result

    def outline(self) -> FloatArray:
        """World points (n, 3) whose hull holds the body."""
        result: FloatArray = self.body.outline @ self.pose.rotation.T + self.pose.translation_mm
        return result
