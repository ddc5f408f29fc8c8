"""What things are made of, and how that looks: metals, blackened steel, plastic and rubber."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.scenes.bodies import Body
from edgecv.scenes.light import lookup
from edgecv.scenes.noise import TILE, finish_noise, sample
from edgecv.scenes.world import Face, FloatArray

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


def shade(
    body: Body,
    finish: Finish,
    environment: Array,
    soft: Array,
    to_world: FloatArray,
    to_body: FloatArray,
    points: Array,
    normals: Array,
    views: Array,
    which: NDArray[np.int8],
    height: Array,
) -> Array:
    """Linear BGR radiance (n, 3) of hit points.

    environment, soft: the light's `blurred` at the finish's roughness, and for diffuse light. to_world,
    to_body: (3, 3), from and to the body's frame. points, normals, views: (3, n) in that frame, views
    pointing away from the camera. which: solid of each hit. height: above the ground, mm.
    """
    grain, cloud, scratch = finish_noise()
    x, y, z = points
    radius = np.sqrt(x * x + y * y)
    inverse = 1 / np.maximum(radius, 1e-6)
    flatness = np.abs(normals[2])
    is_flat = flatness > 0.8
    in_bore = (radius < body.bore * 1.06) & ~is_flat if body.bore else np.zeros(len(x), bool)
    scale = 1 / finish.texel_mm
    around = np.arctan2(y, x)
    u = np.where(is_flat, x, around * body.diameter) * scale + finish.shift[0]
    v = np.where(is_flat, y, z) * scale + finish.shift[1]
    is_turned = np.where(normals[2] > 0, *finish.turned)
    # Direction across the grooves: radial where turned, fixed where ground, along z on the sides.
    cos, sin = np.float32(np.cos(finish.heading)), np.float32(np.sin(finish.heading))
    ex = np.where(is_turned, x * inverse, cos) * is_flat
    ey = np.where(is_turned, y * inverse, sin) * is_flat
    across = np.stack([ex, ey, (~is_flat).astype(np.float32)])
    depth = np.where(is_flat, np.where(is_turned, radius, x * cos + y * sin), z)
    ring = np.take(finish.rings, (depth * (0.7 * scale)).astype(np.int32) & 255)
    normals = normals + across * (ring * np.float32(0.35 * finish.grooves))
    coarse = sample(cloud, u * 0.9, v * 0.9)
    normals = normals + np.stack([
        sample(grain, u, v), sample(grain, u + 71, v + 193), sample(grain, u + 301, v + 17)
    ]) * np.float32(finish.grain)  # fmt: skip
    shadow = np.ones_like(x)
    if body.pitch:
        phase = (z / np.float32(body.pitch) + around * np.float32(1 / (2 * np.pi))) * np.float32(2 * np.pi)
        fade = np.float32(np.clip(body.pitch / finish.texel_mm / 4 - 0.3, 0, 1))
        if body.kind == "bolt":
            threaded = (which == 1) & (z > body.thread[0]) & (z < body.thread[1]) & ~is_flat
        else:
            threaded = in_bore
        wave = np.where(threaded, fade, 0)
        normals[2] += np.clip(2.2 * np.sin(phase), -1, 1) * wave * np.float32(0.75)
        shadow *= 1 - wave * (np.float32(0.3) - np.float32(0.3) * np.cos(phase))
    if body.chip is not None:
        broken = np.abs(body.chip.distance(points)) < 0.02 * body.diameter
        rough = np.where(broken, np.float32(0.35), 0)
        normals = (
            normals
            + np.stack([sample(grain, u * 0.5, z * scale), sample(grain, v * 0.5, x * scale + 9), coarse])
            * rough
        )
        is_flat &= ~broken
    normals /= np.maximum(np.sqrt(np.einsum("in,in->n", normals, normals)), 1e-6)

    turn = np.asarray(to_world, np.float32)
    bent = to_body.T.astype(np.float32)
    seen = turn @ views
    seen /= np.sqrt(np.einsum("in,in->n", seen, seen))
    spread = bent @ across
    spread *= np.float32(finish.grooves)
    facing = bent @ normals
    total = np.zeros((len(x), 3), np.float32)
    for step in (-1.0, 0.0, 1.0):
        n = facing + spread * np.float32(step)
        n /= np.maximum(np.sqrt(np.einsum("in,in->n", n, n)), 1e-6)
        slope = np.einsum("in,in->n", n, seen)
        total += lookup(environment, seen - n * (2 * np.minimum(slope, -0.02)))
    total *= np.float32(1 / 3)
    facing /= np.maximum(np.sqrt(np.einsum("in,in->n", facing, facing)), 1e-6)
    grazing = 1 - np.clip(-np.einsum("in,in->n", facing, seen), 0, 1)
    fresnel = (grazing**5)[:, None]
    reflectance = finish.reflectance * (1 - fresnel * 0.6) + fresnel * 0.6
    diffuse = np.broadcast_to(finish.diffuse, total.shape)
    dirt = np.clip(coarse * 0.5 + 0.2, 0, 1) * finish.stains
    marks = sample(scratch, u * 0.6, v * 0.6) * finish.scratches
    reflectance = reflectance * (1 - dirt - 0.4 * marks)[:, None]
    if finish.rust:
        rusty = np.clip((sample(cloud, u * 0.5 + 40, v * 0.5) - 1.4 + 1.6 * finish.rust) * 1.5, 0, 1)[:, None]
        reflectance = reflectance * (1 - 0.9 * rusty)
        diffuse = diffuse + rusty * np.array([0.03, 0.075, 0.17], np.float32) * (1 + 0.3 * coarse[:, None])
    if body.crack is not None:
        shadow *= 1 - _crack(body, radius, around, finish.texel_mm)
    low = np.clip(height / np.float32(0.5 * body.height), 0, 1)
    shadow *= 0.5 + 0.5 * low
    if body.bore:
        top = np.float32(0.5 * body.height)
        reach = np.where(to_world[2, 2] > 0, top - z, z + top)
        shadow *= np.where(
            in_bore, 0.12 + 0.75 * np.exp(-1.6 * np.maximum(reach, 0) / np.float32(body.bore)), 1
        )
    radiance = total * reflectance + lookup(soft, facing) * (
        diffuse + (0.12 * marks)[:, None] * finish.reflectance
    )
    result: Array = radiance * shadow[:, None]
    return result


def _crack(body: Body, radius: Array, around: Array, texel_mm: float) -> Array:
    """How much of the light a crack swallows, (n,): a jagged line from the bore to the rim."""
    walk = body.crack
    assert walk is not None
    outer = float(np.linalg.norm(body.outline[0, :2]))
    knots = np.linspace(body.bore, outer, len(walk))
    angle = np.interp(radius, knots, walk)
    off = np.abs(np.mod(around - angle + np.pi, 2 * np.pi) - np.pi) * radius
    width = max(0.025 * body.diameter, 0.8 * texel_mm)
    taper = np.interp(radius, knots, 1 - 0.45 * np.linspace(0, 1, len(walk)) ** 2)
    return (0.93 * np.clip(1.5 - off / (width * taper), 0, 1)).astype(np.float32)
