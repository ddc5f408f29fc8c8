"""Many pictures with their truth, from one record of settings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from edgecv.errors import InputError
from edgecv.scenes.belt import make_belt
from edgecv.scenes.scene import make_scene
from edgecv.scenes.sensor import BLUR, GAIN, NOISE, degrade
from edgecv.scenes.world import BeltSpec, Scene, SceneSpec, check_range, check_seed, is_whole

MAX_COUNT = 10_000
# Of all pictures together: what their run lengths take in the annotations stays readable.
MAX_PIXELS = 1 << 34


@dataclass(frozen=True)
class SceneSettings:
    """What pictures to make.

    spec: a SceneSpec, for scenes that have nothing to do with each other; a BeltSpec, for consecutive frames
    of one belt. count: pictures, 1 to 10,000, and at most 2^34 pixels in all. seed: of the belt, or of the
    first scene; those after it have the next ones. light, blur, noise: of every picture, on
    top of what the scene's own camera does: `gain`, `blur` and `noise` of `degrade`.

    Raises InputError for values outside these ranges.
    """

    spec: SceneSpec | BeltSpec = field(default_factory=SceneSpec)
    count: int = 200
    seed: int = 0
    light: float = 1.0
    blur: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        width, height = self.spec.size_wh
        most = min(MAX_COUNT, MAX_PIXELS // (width * height))
        if not is_whole(self.count) or not 1 <= self.count <= most:
            raise InputError(f"count: expected 1 to {most} pictures of {width}x{height}, got {self.count!r}")
        check_seed(self.seed)
        check_seed(int(self.seed) + self.count - 1)
        check_range("light", self.light, *GAIN)
        check_range("blur", self.blur, *BLUR)
        check_range("noise", self.noise, *NOISE)

    @property
    def _is_degraded(self) -> bool:
        return (self.light, self.blur, self.noise) != (1, 0, 0)


def generate(settings: SceneSettings) -> Iterator[Scene]:
    """The pictures, one after the other, each with its truth.

    The same settings give the same bytes on the same machine with the same versions of NumPy and OpenCV.
    Raises MissingExtraError without OpenCV.
    """
    for index, scene in enumerate(_undegraded(settings)):
        if not settings._is_degraded:
            yield scene
            continue
        image = degrade(
            scene.image,
            noise=settings.noise,
            blur=settings.blur,
            gain=settings.light,
            seed=settings.seed + index,
        )
        yield replace(scene, image=image)


def _undegraded(settings: SceneSettings) -> Iterator[Scene]:
    spec, count = settings.spec, settings.count
    if isinstance(spec, BeltSpec):
        return make_belt(settings.seed, count, spec)
    return (make_scene(settings.seed + index, spec) for index in range(count))
