"""Guests: backends that are libraries of others. What they make of a network is checked before it runs here.

A guest runs the network once in a process of its own, and so does another backend that can; only where they
agree is the guest let in. What came of it is kept in the cache, by all that it depends on, so that a network
is checked once. Nobody is accused: two that differ are named, and which is right is not known here.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from edgecv import child, container, hashes, planfile, settings
from edgecv.backends import samples
from edgecv.backends.base import Array, Backend, Check, CompileOptions, Sample, Shapes
from edgecv.backends.cache import Cache, key_of
from edgecv.errors import BackendError, DisagreementError, EdgeCVError, InputError, ModelFileError
from edgecv.extras import required

with required("models"):
    from edgecv.graph import data_sizes
    from edgecv.graph.data_sizes import Watched
    from edgecv.graph.model import OnnxModel

KIND, _MEMBER = "verdict", "verdict.json"
WITNESS = "edgecv.backends.witness:testify"
# Precision -> max|a - b| / max|b| that two backends may differ by: both sum in their own order, and round.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 2e-2, "int8": 2e-2}
# Precision -> noise, of the largest input, that no answer of use may hang on: a rounding, or half a step.
_NOISE = {"fp32": 1e-4, "fp16": 1e-3, "bf16": 4e-3, "int8": 4e-3}
_NUDGES = 3
# What is smaller is measured by this: a sigmoid is exact to a part of 1, not of itself.
_SMALL = 1e-3
# The order in which what came of several inputs counts.
_WEIGHT = ("checked", "unchecked", "differs")
# A difference that is not this much larger than what noise does to one backend alone says nothing.
_CLEARLY = 10.0
# A library may take seconds to be imported on a small board, and many more to compile.
_QUIET_S, _QUIET_S_PER_MB, _MOST_QUIET_S = 60.0, 1.0, 600.0


class Verdict(msgspec.Struct, frozen=True):
    """What came of a check. text: as the placement says it; of "differs" the error."""

    status: Literal["checked", "unchecked", "differs"]
    text: str

    def admitted(self) -> str:
        """The text of a guest that is let in; raises DisagreementError for one that is not."""
        if self.status == "differs":
            raise DisagreementError(self.text)
        return self.text


def check(
    guest: Backend,
    others: Sequence[Backend],
    model: OnnxModel,
    device: str,
    options: CompileOptions,
    shapes: Shapes | None,
    how: Check,
) -> str:
    """What the placement says of a network on a guest: "checked against …", or "unchecked: …".

    others: the backends that are usable here, best first. Raises DisagreementError where results of another
    one differ, and BackendError where the guest ends its process, does not answer, or cannot run what another
    one runs.
    """
    if not how.is_wanted:
        return "unchecked: check=False"
    if not settings.CHECK.get():
        return f"unchecked: {settings.CHECK.name}=0"
    try:
        sizes = samples.shapes_of(model.facts.inputs, shapes or {})
        data = model.data
    except (InputError, ModelFileError) as error:
        return f"unchecked: {error}"
    second = [other for other in others if other.name != guest.name]
    cache = Cache.default() if how.keeps else None
    key = key_of(
        {
            "kind": KIND,
            "model": hashes.digest(data),
            "sample": None if how.sample is None else how.sample.identity,
            "shapes": {input_name: list(shape) for input_name, shape in sizes.items()},
            "device": device,
            "threads": options.threads,
            "precision": options.precision,
            "backends": [[each.name, each.version(), each.build() or ""] for each in (guest, *second)],
        }
    )
    known = None if cache is None else _kept(cache, key)
    if known is not None:
        return known.admitted()
    verdict, is_lasting = _Case(
        guest.name, model, options, sizes, [each.name for each in second], how.sample
    ).verdict()
    if cache is not None and is_lasting:
        about = {planfile.SOURCE: model.origin.encode("ascii", "backslashreplace").decode()}
        cache.put(key, container.to_bytes(KIND, {_MEMBER: msgspec.json.encode(verdict)}, about, guest.name))
    return verdict.admitted()


def _kept(cache: Cache, key: str) -> Verdict | None:
    path = cache.get(key)
    if path is None:
        return None
    try:
        found = container.read(path)
        found.expect(KIND)
        verdict: Verdict = planfile.decoded(found, _MEMBER, Verdict)
    except EdgeCVError:
        # Damaged, or gone by now: checked again.
        cache.discard(key)
        return None
    return verdict


class Testimony(msgspec.Struct):
    """What came out. precision: what was computed. failed: "compile" or "run" where one did, and the error.
    outputs: of each run."""

    precision: str = ""
    failed: str = ""
    error: str = ""
    outputs: list[dict[str, Array]] = []


class _Case:
    """One network on one guest, and those who may say what it should give."""

    def __init__(
        self,
        name: str,
        model: OnnxModel,
        options: CompileOptions,
        shapes: Shapes,
        others: Sequence[str],
        sample: Sample | None,
    ) -> None:
        self._name, self._model, self._options, self._others = name, model, options, others
        self._shapes, self._sample = shapes, sample
        megabytes = model.weight_bytes / (1 << 20)
        self._quiet_s = min(_QUIET_S + _QUIET_S_PER_MB * megabytes, _MOST_QUIET_S)
        self._is_over = threading.Event()

    def verdict(self) -> tuple[Verdict, bool]:
        """What is found, and whether it will be found again."""
        try:
            runs = samples.make(self._model.facts.inputs, self._shapes, self._sample)
        except InputError as error:
            return _unchecked(str(error)), True
        with tempfile.TemporaryDirectory(prefix="edgecv-") as folder, ThreadPoolExecutor(2) as pool:
            try:
                return self._found(Path(folder), pool, runs)
            finally:
                # Ctrl-C, or an answer that makes the other one needless: leaving the pool waits for both.
                self._is_over.set()

    def _found(
        self, folder: Path, pool: ThreadPoolExecutor, runs: Sequence[Mapping[str, Array]]
    ) -> tuple[Verdict, bool]:
        """See `verdict`. folder: for the networks' files."""
        drawn = data_sizes.random_node(self._model)
        seen = data_sizes.watched(self._model)
        whole, wide, cut = (folder / f"{name}.onnx" for name in ("whole", "wide", "cut"))
        whole.write_bytes(self._model.data)
        if seen.choice:
            wide.write_bytes(seen.wide.data)
            cut.write_bytes(seen.cut.data)
        networks = [wide, *([cut] if seen.names else [])] if seen.choice else [whole]
        asked = pool.submit(self._guest, [wide, whole] if seen.choice else [whole], runs)
        second = None if drawn else pool.submit(self._second, networks, runs)
        try:
            guest = asked.result()
        except BackendError as error:
            raise type(error)(f"{self._name}: {error}") from error
        if guest.failed == "compile":
            # Whoever compiles it in this process gets the reason with its class.
            return _unchecked(guest.error), False
        if second is None:
            return _unchecked(f"{drawn} draws numbers"), True
        other, reasons = second.result()
        if other is None:
            told = "; ".join(f"{name}: {why}" for name, why in reasons.items())
            return _unchecked(f"no second backend runs it{told and ': '}{told}"), True
        reference, network, truth = other
        if guest.failed:
            raise BackendError(f"{guest.error}; {reference} runs the same input")
        found = [self._compared(seen, guest, i, reference, truth, run, network) for i, run in enumerate(runs)]
        # No input is known to be the kind that the network is for: one at which both agree is enough.
        return min(found, key=lambda each: _WEIGHT.index(each.status)), True

    def _compared(
        self,
        seen: Watched,
        guest: Testimony,
        i: int,
        reference: str,
        truth: Testimony,
        inputs: Mapping[str, Array],
        network: Path,
    ) -> Verdict:
        ours, theirs = guest.outputs[i], truth.outputs[i]
        names = [name for name in seen.names if name in ours]
        for name in names:
            if not np.isfinite(_plain(theirs[name])).all():
                return _unchecked(f"{reference} gives numbers that are not finite")
        precision = max(guest.precision, truth.precision, key=list(_NOISE).index)
        allowed = TOLERANCE[precision]
        apart = {name: difference(ours[name], theirs[name]) for name in names}
        far = {name: figure for name, figure in apart.items() if not figure <= allowed}
        if far:
            moved = self._moved(reference, network, inputs, theirs, list(far), _NOISE[precision])
            far = {name: figure for name, figure in far.items() if not figure <= _CLEARLY * moved[name]}
            if not far:
                return _unchecked("its numbers hang on the last digits of its input")
            return self._differing(reference, ours, theirs, far, allowed)
        if not seen.choice:
            return Verdict("checked", f"checked against {reference}")
        behind = [value.name for value in self._model.facts.outputs if value.name not in seen.names]
        if all(name in theirs and difference(ours[name], theirs[name]) <= allowed for name in behind):
            return Verdict("checked", f"checked against {reference}")
        if not names:
            return _unchecked(f"all of it hangs on what {seen.choice} chooses")
        return Verdict("checked", f"checked against {reference} up to {seen.choice}")

    def _differing(
        self,
        reference: str,
        ours: Mapping[str, Array],
        theirs: Mapping[str, Array],
        far: Mapping[str, float],
        allowed: float,
    ) -> Verdict:
        name = max(far, key=lambda each: far[each])
        a, b = ours[name], theirs[name]
        if a.shape != b.shape:
            how = f"is {_times(a)} and {_times(b)}"
        else:
            gaps = np.abs(_plain(a) - _plain(b))
            at = tuple(
                int(i) for i in np.unravel_index(int(np.nan_to_num(gaps, nan=np.inf).argmax()), a.shape)
            )
            how = (
                f"differs by {far[name]:.2g} of its largest value, and {allowed:g} is allowed: "
                f"{a[at]:.6g} and {b[at]:.6g} at {at}"
            )
        return Verdict(
            "differs",
            f"{self._name} and {reference} give different results for {self._model.origin}: {name!r} {how}; "
            "which of them is right is not known here: try another backend, or take it as it is with "
            "check=False",
        )

    def _moved(
        self,
        reference: str,
        network: Path,
        inputs: Mapping[str, Array],
        theirs: Mapping[str, Array],
        names: Sequence[str],
        noise: float,
    ) -> dict[str, float]:
        """How far the reference's own results move with a little noise on the input."""
        runs = [inputs, *(samples.nudged(inputs, noise, seed) for seed in range(_NUDGES))]
        told = self._ask(reference, network, self._asked(), runs)
        moved = {name: [difference(one[name], theirs[name]) for one in told.outputs] for name in names}
        # A reference that fails now says nothing for sure.
        return {name: max(found, default=float("inf")) for name, found in moved.items()}

    def _guest(self, networks: Sequence[Path], runs: Sequence[Mapping[str, Array]]) -> Testimony:
        """Of the first of these networks that it runs, or of the last: the one that is to run here."""
        for network in networks:
            told = self._ask(self._name, network, self._options, runs)
            if not told.failed:
                break
        return told

    def _second(
        self, networks: Sequence[Path], runs: Sequence[Mapping[str, Array]]
    ) -> tuple[tuple[str, Path, Testimony] | None, dict[str, str]]:
        """The first other backend that runs the network, or what of it comes before choices; and why others
        do not."""
        reasons: dict[str, str] = {}
        for name in self._others:
            for network in networks:
                try:
                    told = self._ask(name, network, self._asked(), runs)
                except BackendError as error:
                    reasons[name] = str(error)
                    continue
                if not told.failed:
                    return (name, network, told), reasons
                reasons[name] = told.error.removeprefix(f"{name}: ")
        return None, reasons

    def _asked(self) -> CompileOptions:
        return CompileOptions(threads=self._options.threads)

    def _ask(
        self, name: str, network: Path, options: CompileOptions, runs: Sequence[Mapping[str, Array]]
    ) -> Testimony:
        told: Testimony = child.call(
            WITNESS,
            str(network),
            self._model.origin,
            name,
            options,
            runs,
            doing=f"while {name} ran {self._model.origin} to be checked",
            quiet_s=self._quiet_s,
            # A network that takes long is not one that hangs: each step that is done counts.
            heard=lambda *_: None,
            unwanted=self._is_over,
            scratch=network.parent,
        )
        return told


def difference(a: Array, b: Array) -> float:
    """max|a - b| / max|b|, or / 1e-3 where that is larger.

    Infinite for other shapes, and where one is not finite and the other is.
    """
    if a.shape != b.shape:
        return float("inf")
    x, y = _plain(a), _plain(b)
    if not np.isfinite(x).all():
        return 0.0 if np.array_equal(x, y, equal_nan=True) else float("inf")
    return float(np.abs(x - y).max(initial=0.0)) / max(float(np.abs(y).max(initial=0.0)), _SMALL)


def _plain(array: Array) -> Array:
    return np.asarray(array, np.float64)


def _times(array: Array) -> str:
    return "x".join(map(str, array.shape)) or "one number"


def _unchecked(why: str) -> Verdict:
    return Verdict("unchecked", f"unchecked: {' '.join(why.split())[:300]}")
