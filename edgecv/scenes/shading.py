"""How a body looks where rays meet it: its finish under the light around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecv.scenes.bodies import Body
from edgecv.scenes.finish import Finish
from edgecv.scenes.light import Light, lookup
from edgecv.scenes.noise import finish_noise, sample
from edgecv.scenes.placed import Placed

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Hits:
    """Where rays meet a body, in its frame.

    points, normals, views: float32 (3, n), mm, unit vectors and directions away from the camera. which: the
    solid of each, int8 (n,).
    """

    points: Array
    normals: Array
    views: Array
    which: NDArray[np.int8]

    def select(self, keep: Mask) -> Hits:
        """Those of a mask (n,)."""
        return Hits(self.points[:, keep], self.normals[:, keep], self.views[:, keep], self.which[keep])


class Shading:
    """One placed body under one light.

    Grooves, grain, threads and broken faces tilt the normals of the hits; the light is looked up where they
    point, and stains, rust, cracks and depth swallow a part of it.
    """

    def __init__(self, placed: Placed, light: Light) -> None:
        self._body = placed.body
        self._finish = placed.finish
        self._mirrored = light.blurred(placed.finish.roughness)
        self._diffuse = light.blurred(1.0)
        self._to_world = placed.to_world.astype(np.float32)
        # Normals turn by the inverse transposed, which differs where the body is deformed.
        self._normals_to_world = placed.to_body.T.astype(np.float32)
        self._is_upright = bool(placed.to_world[2, 2] > 0)
        self._up = placed.to_world[2].astype(np.float32)
        self._center_mm = np.float32(placed.pose.translation_mm[2])

    def radiance(self, hits: Hits) -> Array:
        """Linear BGR radiance (n, 3) of the hits."""
        skin = _Skin(self._body, self._finish, hits)
        normals, shadow = _bumped(self._body, self._finish, skin, hits)
        seen = self._to_world @ hits.views
        seen /= np.sqrt(np.einsum("in,in->n", seen, seen))
        facing = self._normals_to_world @ normals
        mirrored = self._reflected(facing, skin.across, seen)
        facing /= np.maximum(np.sqrt(np.einsum("in,in->n", facing, facing)), 1e-6)
        reflectance, diffuse = self._coat(skin, facing, seen)
        if self._body.crack is not None:
            shadow *= 1 - _crack(self._body, skin.radius, skin.around, self._finish.texel_mm)
        self._dim(shadow, skin, hits.points)
        result: Array = mirrored * reflectance + lookup(self._diffuse, facing) * diffuse
        return result * shadow[:, None]

    def _reflected(self, facing: Array, across: Array, seen: Array) -> Array:
        """What the surface mirrors, (n, 3): grooves spread it across their direction."""
        spread = self._normals_to_world @ across
        spread *= np.float32(self._finish.grooves)
        total = np.zeros((facing.shape[1], 3), np.float32)
        for step in (-1.0, 0.0, 1.0):
            n = facing + spread * np.float32(step)
            n /= np.maximum(np.sqrt(np.einsum("in,in->n", n, n)), 1e-6)
            slope = np.einsum("in,in->n", n, seen)
            total += lookup(self._mirrored, seen - n * (2 * np.minimum(slope, -0.02)))
        total *= np.float32(1 / 3)
        return total

    def _coat(self, skin: _Skin, facing: Array, seen: Array) -> tuple[Array, Array]:
        """Shares of the mirrored and of the diffuse light that come back, (n, 3) each."""
        finish = self._finish
        _, cloud, scratch = finish_noise()
        grazing = 1 - np.clip(-np.einsum("in,in->n", facing, seen), 0, 1)
        fresnel = (grazing**5)[:, None]
        reflectance = finish.reflectance * (1 - fresnel * 0.6) + fresnel * 0.6
        diffuse = np.broadcast_to(finish.diffuse, reflectance.shape)
        dirt = np.clip(skin.cloud * 0.5 + 0.2, 0, 1) * finish.stains
        marks = sample(scratch, skin.u * 0.6, skin.v * 0.6) * finish.scratches
        reflectance = reflectance * (1 - dirt - 0.4 * marks)[:, None]
        if finish.rust:
            patches = sample(cloud, skin.u * 0.5 + 40, skin.v * 0.5) - 1.4 + 1.6 * finish.rust
            rusty = np.clip(patches * 1.5, 0, 1)[:, None]
            reflectance = reflectance * (1 - 0.9 * rusty)
            tint = rusty * np.array([0.03, 0.075, 0.17], np.float32)
            diffuse = diffuse + tint * (1 + 0.3 * skin.cloud[:, None])
        return reflectance, diffuse + (0.12 * marks)[:, None] * finish.reflectance

    def _dim(self, shadow: Array, skin: _Skin, points: Array) -> None:
        """Takes off the light that the ground and the bore's wall keep from the hits; shadow: (n,)."""
        body = self._body
        height = self._up @ points + self._center_mm
        low = np.clip(height / np.float32(0.5 * body.height), 0, 1)
        shadow *= 0.5 + 0.5 * low
        if body.bore:
            top, z = np.float32(0.5 * body.height), points[2]
            depth = np.maximum(top - z if self._is_upright else z + top, 0)
            shadow *= np.where(skin.in_bore, 0.12 + 0.75 * np.exp(-1.6 * depth / np.float32(body.bore)), 1)


class _Skin:
    """Where hits lie on the body's surface as it is unrolled, and which way its grooves run, (n,) each.

    radius, around: about the axis, mm and radians. is_flat: on a face, not on a side. u, v: texels. across:
    (3, n), at right angles to the grooves. ring: depth of the groove. cloud: smooth noise.
    """

    def __init__(self, body: Body, finish: Finish, hits: Hits) -> None:
        x, y, z = hits.points
        self.radius = np.sqrt(x * x + y * y)
        self.is_flat = np.abs(hits.normals[2]) > 0.8
        self.in_bore = (
            (self.radius < body.bore * 1.06) & ~self.is_flat if body.bore else np.zeros(len(x), bool)
        )
        scale = 1 / finish.texel_mm
        self.around = np.arctan2(y, x)
        self.u = np.where(self.is_flat, x, self.around * body.diameter) * scale + finish.shift[0]
        self.v = np.where(self.is_flat, y, z) * scale + finish.shift[1]
        is_turned = np.where(hits.normals[2] > 0, *finish.turned)
        # Direction across the grooves: radial where turned, fixed where ground, along z on the sides.
        cos, sin = np.float32(np.cos(finish.heading)), np.float32(np.sin(finish.heading))
        inverse = 1 / np.maximum(self.radius, 1e-6)
        ex = np.where(is_turned, x * inverse, cos) * self.is_flat
        ey = np.where(is_turned, y * inverse, sin) * self.is_flat
        self.across: Array = np.stack([ex, ey, (~self.is_flat).astype(np.float32)])
        depth = np.where(self.is_flat, np.where(is_turned, self.radius, x * cos + y * sin), z)
        self.ring = np.take(finish.rings, (depth * (0.7 * scale)).astype(np.int32) & 255)
        self.cloud = sample(finish_noise()[1], self.u * 0.9, self.v * 0.9)


def _bumped(body: Body, finish: Finish, skin: _Skin, hits: Hits) -> tuple[Array, Array]:
    """Unit normals (3, n) with all that tilts them, and the share of the light (n,) that a thread leaves."""
    grain = finish_noise()[0]
    u, v = skin.u, skin.v
    normals = hits.normals + skin.across * (skin.ring * np.float32(0.35 * finish.grooves))
    normals = normals + np.stack([
        sample(grain, u, v), sample(grain, u + 71, v + 193), sample(grain, u + 301, v + 17)
    ]) * np.float32(finish.grain)  # fmt: skip
    shadow = np.ones_like(u, np.float32)
    if body.pitch:
        slope, kept = _thread(body, finish, skin, hits)
        normals[2] += slope
        shadow *= kept
    if body.chip is not None:
        x, _, z = hits.points
        scale = 1 / finish.texel_mm
        rough = np.where(np.abs(body.chip.distance(hits.points)) < 0.02 * body.diameter, np.float32(0.35), 0)
        fracture = [sample(grain, u * 0.5, z * scale), sample(grain, v * 0.5, x * scale + 9), skin.cloud]
        normals = normals + np.stack(fracture) * rough
    normals /= np.maximum(np.sqrt(np.einsum("in,in->n", normals, normals)), 1e-6)
    return normals, shadow


def _thread(body: Body, finish: Finish, skin: _Skin, hits: Hits) -> tuple[Array, Array]:
    """How far a thread tilts the normals along z, and the share of the light that it leaves, (n,) each."""
    z = hits.points[2]
    phase = (z / np.float32(body.pitch) + skin.around * np.float32(1 / (2 * np.pi))) * np.float32(2 * np.pi)
    fade = np.float32(np.clip(body.pitch / finish.texel_mm / 4 - 0.3, 0, 1))
    if body.kind == "bolt":
        low, high = body.thread
        threaded = (hits.which == 1) & (z > low) & (z < high) & ~skin.is_flat
    else:
        threaded = skin.in_bore
    wave = np.where(threaded, fade, 0)
    slope = np.clip(2.2 * np.sin(phase), -1, 1) * wave * np.float32(0.75)
    return slope, 1 - wave * (np.float32(0.3) - np.float32(0.3) * np.cos(phase))


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
