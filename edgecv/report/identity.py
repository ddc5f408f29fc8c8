"""A machine's identity as the facts of a page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# The name that a library goes by, where it differs from the one that Python imports.
NAMES = {
    "cv2": "OpenCV",
    "numpy": "NumPy",
    "onnx": "ONNX",
    "onnxruntime": "ONNX Runtime",
    "tensorrt": "TensorRT",
}


def machine_facts(identity: Mapping[str, Any]) -> dict[str, str]:
    """Label -> value, of what `edgecv.machine.identity` tells; what it does not tell is left out."""
    cpu = _part(identity, "cpu")
    memory = _part(identity, "memory")
    board = _part(identity, "board")
    system = _part(identity, "os")
    isa = _part(cpu, "isa")
    quota = cpu.get("cgroup_quota")
    facts = {
        "Board": board.get("model"),
        "Power mode": board.get("power_mode"),
        "Board release": board.get("release"),
        "Processor": cpu.get("model"),
        "CPUs": _cpus(cpu),
        "CPU quota": None if quota is None else f"{quota:g}",
        "Instruction set": isa.get("active") or isa.get("error"),
        "Caches": _caches(cpu.get("caches") or ()),
        "Governor": ", ".join(cpu.get("governors") or ()),
        "Frequency": _frequency(_part(cpu, "frequency_mhz")),
        "Memory": _bytes(memory.get("total_bytes")),
        "Memory limit": _bytes(memory.get("limit_bytes")),
        "System": " ".join(str(system[key]) for key in ("name", "kernel", "machine") if system.get(key)),
    }
    return {label: str(value) for label, value in facts.items() if value}


def versions_of(identity: Mapping[str, Any]) -> dict[str, str]:
    """Name -> version of Python and of the libraries that are there."""
    python = _part(identity, "python")
    versions = {}
    if python.get("version"):
        versions[python.get("implementation") or "Python"] = str(python["version"])
    for name, version in _part(identity, "libraries").items():
        if version:
            versions[NAMES.get(name, name)] = str(version)
    return versions


def _part(facts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = facts.get(name)
    return part if isinstance(part, Mapping) else {}


def _cpus(cpu: Mapping[str, Any]) -> str | None:
    if not cpu.get("logical"):
        return None
    physical = f", {cpu['physical']} cores" if cpu.get("physical") else ""
    return f"{cpu.get('usable', cpu['logical'])} usable of {cpu['logical']}{physical}"


def _caches(caches: Any) -> str:
    shown = []
    for cache in caches:
        kind = {"data": "d", "instruction": "i"}.get(cache.get("type"), "")
        count = f"{cache['count']}x " if (cache.get("count") or 1) > 1 else ""
        shown.append(f"L{cache.get('level')}{kind} {count}{_bytes(cache.get('size_bytes'))}")
    return ", ".join(shown)


def _frequency(mhz: Mapping[str, Any]) -> str | None:
    low, high, current = (mhz.get(name) for name in ("min", "max", "current"))
    if not low or not high:
        return None
    now = f", now {current:.0f}" if current else ""
    return f"{low:.0f} to {high:.0f} MHz{now}"


def _bytes(count: int | None) -> str | None:
    if not count:
        return None
    for unit, shift in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << shift:
            return f"{count / (1 << shift):.4g} {unit}"
    return f"{count} B"
