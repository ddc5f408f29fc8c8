"""Training pictures: rendered once into memory-mapped files, augmented on the fly."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.pool import AsyncResult, Pool
from pathlib import Path

import cv2
import numpy as np
import torch
from loss import Truth
from numpy.typing import NDArray
from torch import Tensor

from edgecv import scenes

SPEC = scenes.SceneSpec()
SIDE = SPEC.size_wh[0]
PAD_VALUE = 114
LEAST_SIDE = 6.0

Progress = Callable[[int, int], None]

# The pictures of a feeder's process.
_shared: Scenes


@dataclass(frozen=True)
class Scenes:
    """images: uint8 (n, H, W, 3) BGR, memory mapped. objects: float32 (k, 5), xyxy and class, of each.
    seconds: that rendering took, in whichever run it was."""

    images: NDArray[np.uint8]
    objects: tuple[NDArray[np.float32], ...]
    seconds: float


def _render(seed: int) -> tuple[int, NDArray[np.uint8], list[list[float]]]:
    scene = scenes.make_scene(seed, SPEC)
    return seed, scene.image, [[*part.xyxy, float(part.class_id)] for part in scene.parts]


@contextlib.contextmanager
def workers() -> Iterator[Pool]:
    """A process for every processor, none of which starts threads of its own."""
    with multiprocessing.get_context("spawn").Pool(initializer=_one_thread) as pool:
        yield pool


def _one_thread() -> None:
    cv2.setNumThreads(1)


def render(folder: Path, seeds: range, progress: Progress) -> Scenes:
    """Pictures of these seeds, from the folder where an earlier run left them."""
    folder.mkdir(parents=True, exist_ok=True)
    images_path, objects_path = _paths(folder, seeds)
    if not objects_path.exists():
        started = time.monotonic()
        shape = (len(seeds), SIDE, SIDE, 3)
        images = np.lib.format.open_memmap(images_path, mode="w+", dtype=np.uint8, shape=shape)
        objects: list[list[list[float]]] = [[] for _ in seeds]
        with workers() as pool:
            for done, (seed, image, parts) in enumerate(pool.imap_unordered(_render, seeds, chunksize=8), 1):
                images[seed - seeds.start] = image
                objects[seed - seeds.start] = parts
                progress(done, len(seeds))
        images.flush()
        # Written last: its presence says that the pictures are whole.
        objects_path.write_text(json.dumps({"seconds": time.monotonic() - started, "objects": objects}))
    return load(folder, seeds)


def load(folder: Path, seeds: range) -> Scenes:
    """Pictures that `render` left."""
    images_path, objects_path = _paths(folder, seeds)
    listed = json.loads(objects_path.read_text())
    return Scenes(
        np.load(images_path, mmap_mode="r"),
        tuple(np.array(parts, np.float32).reshape(-1, 5) for parts in listed["objects"]),
        listed["seconds"],
    )


def _paths(folder: Path, seeds: range) -> tuple[Path, Path]:
    images = folder / f"images_{seeds.start}_{len(seeds)}.npy"
    return images, images.with_suffix(".json")


def augment(
    image: NDArray[np.uint8], objects: NDArray[np.float32], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One picture, side x side, and its objects that are still large enough."""
    image, objects = _turn(image, objects.copy(), rng)
    image, objects = _place(image, objects, side, rng)
    return _expose(image, rng), objects


def _turn(
    image: NDArray[np.uint8], objects: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """One of the eight symmetries of the square, exact for boxes too."""
    side = image.shape[0]
    if rng.random() < 0.5:
        image = image.swapaxes(0, 1)
        objects[:, :4] = objects[:, [1, 0, 3, 2]]
    for axis, (low, high) in ((1, (0, 2)), (0, (1, 3))):
        if rng.random() < 0.5:
            image = np.flip(image, axis)
            objects[:, [low, high]] = side - objects[:, [high, low]]
    return np.ascontiguousarray(image), objects


def _place(
    image: NDArray[np.uint8], objects: NDArray[np.float32], side: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Resized to side x side; one time in three smaller, with the letterbox's bars around it."""
    width = height = side
    if rng.random() < 0.35:
        scale = rng.uniform(0.55, 1.0)
        width, height = (round(side * scale * rng.uniform(0.9, 1.0)) for _ in range(2))
    shrinks = width < image.shape[1]
    resized = cv2.resize(
        image,
        (width, height),
        interpolation=cv2.INTER_AREA if shrinks and rng.random() < 0.5 else cv2.INTER_LINEAR,
    )
    left, top = rng.integers(0, side - width + 1), rng.integers(0, side - height + 1)
    canvas = resized
    if (width, height) != (side, side):
        canvas = np.full((side, side, 3), PAD_VALUE, np.uint8)
        canvas[top : top + height, left : left + width] = resized
    scale_xy = np.array([width / image.shape[1], height / image.shape[0]], np.float32)
    objects[:, :4] = objects[:, :4] * np.tile(scale_xy, 2) + np.tile([left, top], 2).astype(np.float32)
    sides = objects[:, 2:4] - objects[:, :2]
    return canvas, objects[sides.min(1, initial=np.inf) >= LEAST_SIDE]


def _expose(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Another camera: gain, white balance, gray, blur, noise."""
    gain = np.exp(rng.uniform(np.log(0.4), np.log(1.6))) if rng.random() < 0.6 else 1.0
    white = rng.uniform(0.88, 1.12, 3) if rng.random() < 0.5 else np.ones(3)
    table = np.clip(np.arange(256)[:, None] * gain * white, 0, 255).astype(np.uint8)
    image = cv2.LUT(image, table.reshape(1, 256, 3))
    if rng.random() < 0.05:
        image = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    if rng.random() < 0.2:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.8))
    if rng.random() < 0.3:
        noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(2, 14))
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
    return image


def _make_batch(
    task: tuple[NDArray[np.int64], int, tuple[int, int]],
) -> tuple[NDArray[np.uint8], list[NDArray[np.float32]]]:
    chosen, side, seed = task
    rng = np.random.default_rng(seed)
    drawn = [augment(_shared.images[i], _shared.objects[i], side, rng) for i in chosen]
    return np.stack([image for image, _ in drawn]), [objects for _, objects in drawn]


def _share(folder: Path, seeds: range) -> None:
    global _shared
    _one_thread()
    _shared = load(folder, seeds)


class Feeder:
    """Makes batches ahead in a process of its own, which the training's own Python does not hold up."""

    AHEAD = 4

    def __init__(self, folder: Path, seeds: range) -> None:
        self._count = len(seeds)
        self._pool = multiprocessing.get_context("spawn").Pool(1, _share, (folder, seeds))

    def __enter__(self) -> Feeder:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.terminate()

    def epoch(self, size: int, side: int, seed: int) -> Iterator[tuple[Tensor, Truth]]:
        """Batches over all pictures, in an order of the seed's. Tensors: float32 (N, 3, side, side), 0..1.

        The same seed gives the same batches.
        """
        order = np.random.default_rng(seed).permutation(self._count)
        pending: deque[AsyncResult[tuple[NDArray[np.uint8], list[NDArray[np.float32]]]]] = deque()
        for number in range(self._count // size):
            chosen = order[number * size : (number + 1) * size]
            pending.append(self._pool.apply_async(_make_batch, ((chosen, side, (seed, number)),)))
            if len(pending) > self.AHEAD:
                yield collate(*pending.popleft().get())
        while pending:
            yield collate(*pending.popleft().get())


def collate(images: NDArray[np.uint8], objects: list[NDArray[np.float32]]) -> tuple[Tensor, Truth]:
    """A batch in channels-last memory, its objects padded to the longest list."""
    longest = max(1, *map(len, objects))
    padded = torch.zeros(len(objects), longest, 5)
    is_real = torch.zeros(len(objects), longest, dtype=torch.bool)
    for i, each in enumerate(objects):
        padded[i, : len(each)] = torch.from_numpy(each)
        is_real[i, : len(each)] = True
    pictures = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    return pictures, Truth(padded[..., :4], padded[..., 4].long(), is_real)
