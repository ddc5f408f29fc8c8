"""What things are made of: metals, blackened steel, plastic and rubber."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.scenes.noise import TILE
from edgecv.scenes.world import Face

Array = NDArray[np.float32]

# BGR reflectance at normal incidence, range of roughness, BGR diffuse albedo.
METALS: dict[str, tuple[tuple[float, float, float], tuple[float, float], tuple[float, float, float]]] = {
    "steel": ((0.53, 0.55, 0.56), (0.06, 0.2), (0.04, 0.04, 0.04)),
    "stainless": ((0.57, 0.60, 0.62), (0.03, 0.12), (0.02, 0.02, 0.02)),
    "zinc": ((0.68, 0.66, 0.63), (0.08, 0.22), (0.07, 0.07, 0.065)),
    "yellow zinc": ((0.30, 0.50, 0.58), (0.08, 0.2), (0.02, 0.05, 0.06)),
    "brass": ((0.28, 0.58, 0.75), (0.05, 0.18), (0.01, 0.03, 0.04)),
    "black oxide": ((0.055, 0.052, 0.05), (0.08, 0.22), (0.012, 0.012, 0.012)),
    "galvanized": ((0.42, 0.42, 0.41), (0.25, 0.4), (0.12, 0.12, 0.115)),
    "raw": ((0.36, 0.37, 0.38), (0.15, 0.3), (0.03, 0.033, 0.036)),
}
METAL_ODDS = (0.2, 0.14, 0.24, 0.1, 0.07, 0.12, 0.06, 0.07)


@dataclass(frozen=True, eq=False)
class Finish:
    """A material on one body. reflectance, diffuse: BGR. grooves: how far turning tilts the normal.

    grain: tilt by fine unevenness. texel_mm: size of a noise texel. shift: of the noise, texels. turned:
    concentric grooves on the faces, else parallel ones along `heading`.
    """

    reflectance: Array
    diffuse: Array
    roughness: float
    grooves: float
    grain: float
    stains: float
    rust: float
    scratches: float
    turned: tuple[bool, bool]
    heading: float
    texel_mm: float
    shift: tuple[float, float]
    rings: Array


def metal(rng: np.random.Generator, kind: str, pixel_mm: float, face: Face | None) -> Finish:
    """A metal finish. pixel_mm: size of a pixel on the part; nothing finer is drawn."""
    reflectance, rough, diffuse = METALS[kind]
    tint = rng.uniform(0.85, 1.1) * (1 + rng.uniform(-0.025, 0.025, 3))
    old = rng.random()
    rings = _rings(rng)
    grooves = float(rng.uniform(0.03, 0.16))
    # The chamfered face of a nut is turned; the other one is sheared or pressed flat.
    turned = (True, bool(rng.random() < 0.15)) if face else (bool(rng.random() < 0.5),) * 2
    return Finish(
        (np.array(reflectance) * tint).astype(np.float32),
        (np.array(diffuse) * tint).astype(np.float32),
        float(rng.uniform(*rough)),
        grooves,
        float(rng.uniform(0.003, 0.02)),
        float(rng.uniform(0.0, 0.25) if old < 0.7 else rng.uniform(0.25, 0.5)),
        float(rng.uniform(0.15, 0.9) if kind in ("raw", "steel") and rng.random() < 0.2 else 0.0),
        float(rng.uniform(0.0, 0.5)),
        turned,
        float(rng.uniform(0, np.pi)),
        pixel_mm * float(rng.uniform(0.5, 0.9)),
        (float(rng.uniform(0, TILE)), float(rng.uniform(0, TILE))),
        rings,
    )


def dull(
    rng: np.random.Generator, albedo: tuple[float, float, float], gloss: float, pixel_mm: float
) -> Finish:
    """Plastic, rubber or paint of a BGR albedo."""
    return Finish(
        np.full(3, 0.04 * gloss, np.float32), np.array(albedo, np.float32), float(rng.uniform(0.08, 0.4)),
        0.01, float(rng.uniform(0.01, 0.05)), 0.1, 0.0, 0.1, (False, False), 0.0, pixel_mm * 0.7,
        (float(rng.uniform(0, TILE)), float(rng.uniform(0, TILE))), _rings(rng),
    )  # fmt: skip


def _rings(rng: np.random.Generator) -> Array:
    rings = rng.standard_normal(256, dtype=np.float32)
    bands = np.repeat(rng.standard_normal(64, dtype=np.float32), 4)
    return np.asarray((rings + np.roll(rings, 1) + 1.5 * bands) / 2, np.float32)
