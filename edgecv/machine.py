"""What this machine is, and how much of it this process may use: the identity that every figure carries.

Nothing here raises: what the machine does not tell is None. Every reader takes the root of the file
system, so that the trees of other machines can be read too.
"""

from __future__ import annotations

import importlib
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

# Text throughout: every model that is loaded asks for the budget, and pathlib is long to import.
Root = str | os.PathLike[str]

ROOT = "/"

# Linux, arch/arm64/include/asm/cputype.h: (implementer, part) of the main id register.
ARM_CORES = {
    (0x41, 0xC07): "Cortex-A7",
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD04): "Cortex-A35",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD09): "Cortex-A73",
    (0x41, 0xD0A): "Cortex-A75",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
    (0x41, 0xD0D): "Cortex-A77",
    (0x41, 0xD40): "Neoverse-V1",
    (0x41, 0xD41): "Cortex-A78",
    (0x41, 0xD42): "Cortex-A78AE",
    (0x41, 0xD49): "Neoverse-N2",
    (0x41, 0xD4F): "Neoverse-V2",
    (0x41, 0xD83): "Neoverse-V3AE",
    (0x4E, 0x003): "Denver 2",
    (0x4E, 0x004): "Carmel",
}

# cgroup v1 writes "no limit" as the largest multiple of a page that a signed 64-bit number holds.
UNLIMITED_BYTES = 1 << 62

# Library: the distributions that may carry it, the first one found counts.
DISTRIBUTIONS = {
    "edgecv": ("edgecv",),
    "numpy": ("numpy",),
    "cv2": (
        "opencv-contrib-python-headless",
        "opencv-contrib-python",
        "opencv-python-headless",
        "opencv-python",
    ),
    "onnx": ("onnx",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "tensorrt": ("tensorrt",),
}


def cpu_budget(root: Root = ROOT) -> int:
    """How many threads can run at once: the smaller of affinity and cgroup quota, at least 1.

    A quota's fraction is dropped: a thread more than the quota holds makes the kernel stop them all
    for the rest of each period, which is worse for latency than a thread less.
    """
    count = len(_affinity())
    quota = _cgroup_quota(root)
    return max(1, count if quota is None else min(count, int(quota)))


def memory_budget(root: Root = ROOT) -> int | None:
    """How many bytes one process can have: the smaller of the machine's memory and the cgroup's limit."""
    known = [size for size in (_memory_total(root), _memory_limit(root)) if size]
    return min(known, default=None)


def identity(root: Root = ROOT) -> dict[str, Any]:
    """The machine as plain JSON types; None is what it does not tell.

    cpu: model; logical and physical counts of online processors; usable (`cpu_budget`); affinity
    (list of processor numbers); cgroup_quota (in processors); caches (level, type, size_bytes,
    shared_by: how many processors share one, count: how many there are); isa (usable, active,
    error: why none is active); governors; frequency_mhz (min, max, current: of all processors).
    memory: total_bytes; limit_bytes (of the cgroup). board: model, power_mode, release.
    os: name, kernel, machine. python: version, implementation. libraries: version by import name.
    """
    online = _online(root)
    return {
        "cpu": {
            "model": _cpu_model(root),
            "logical": len(online),
            "physical": _physical_cores(root, online),
            "usable": cpu_budget(root),
            "affinity": _affinity(),
            "cgroup_quota": _cgroup_quota(root),
            "caches": _caches(root, online),
            "isa": _isa(),
            "governors": _governors(root, online),
            "frequency_mhz": _frequency_mhz(root, online),
        },
        "memory": {"total_bytes": _memory_total(root), "limit_bytes": _memory_limit(root)},
        "board": _board(root),
        "os": {
            "name": _os_name(root),
            "kernel": platform.release() or None,
            "machine": platform.machine() or None,
        },
        "python": {
            "version": platform.python_version(),
            "implementation": platform.python_implementation(),
        },
        "libraries": {name: _library_version(name) for name in DISTRIBUTIONS},
    }


def describe(identity: dict[str, Any]) -> str:
    """One line for a table's caption or a log, from what `identity` returns."""
    cpu = identity["cpu"]
    parts = [identity["board"]["model"], cpu["model"]]
    threads = f"{cpu['usable']} of {cpu['logical']} CPUs"
    if cpu["isa"] and cpu["isa"]["active"]:
        threads += f", {cpu['isa']['active']}"
    parts.append(threads)
    if cpu["governors"]:
        parts.append(f"governor {'/'.join(cpu['governors'])}")
    if identity["board"]["power_mode"]:
        parts.append(f"power mode {identity['board']['power_mode']}")
    if identity["memory"]["total_bytes"]:
        parts.append(f"{identity['memory']['total_bytes'] / 2**30:.1f} GiB")
    system = identity["os"]
    parts.append(" ".join(filter(None, (system["name"], system["kernel"], system["machine"]))))
    parts.append(f"Python {identity['python']['version']}")
    return "; ".join(part for part in parts if part)


def _read(folder: Root, name: str) -> str | None:
    """The text of a small file, without white space and NUL around it; None when unreadable or empty."""
    try:
        with open(os.path.join(folder, name), encoding="utf-8", errors="replace") as file:
            return file.read().strip("\0 \t\r\n") or None
    except (OSError, ValueError):
        return None


def _read_int(folder: Root, name: str) -> int | None:
    text = _read(folder, name)
    try:
        return int(text) if text else None
    except ValueError:
        return None


def _cpu_list(text: str | None) -> list[int]:
    """The numbers in a kernel CPU list such as "0,3-5"."""
    numbers: list[int] = []
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text or ""):
        numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def _affinity() -> list[int]:
    # Linux alone has it.
    if hasattr(os, "sched_getaffinity"):
        try:
            return sorted(os.sched_getaffinity(0))
        except OSError:
            pass
    return list(range(os.cpu_count() or 1))


def _online(root: Root) -> list[int]:
    listed = _cpu_list(_read(root, "sys/devices/system/cpu/online"))
    return listed or list(range(os.cpu_count() or 1))


def _cpu_folders(root: Root, cpus: Iterable[int]) -> Iterator[str]:
    for number in cpus:
        yield os.path.join(root, f"sys/devices/system/cpu/cpu{number}")


# --- cgroups ---------------------------------------------------------------------------------------


def _cgroup_folders(root: Root, controller: str) -> Iterator[tuple[int, str]]:
    """(cgroup version, folder) of this process's group and of each group above it.

    Every group on the way up limits those below it, so all of them have to be asked.
    """
    mounts = list(_cgroup_mounts(root))
    for line in (_read(root, "proc/self/cgroup") or "").splitlines():
        fields = line.split(":", 2)
        if len(fields) != 3:
            continue
        _, controllers, group = fields
        version = 1 if controllers else 2
        if version == 1 and controller not in controllers.split(","):
            continue
        for mount_version, shown, folder, options in mounts:
            if mount_version != version or (version == 1 and controller not in options):
                continue
            # Without a cgroup namespace the group's name starts with what the mount shows as its root.
            parts = _parts(group)
            if parts[: len(shown)] == shown:
                parts = parts[len(shown) :]
            parts = [part for part in parts if part != ".."]
            for depth in range(len(parts), -1, -1):
                yield version, os.path.join(folder, *parts[:depth])


def _cgroup_mounts(root: Root) -> Iterator[tuple[int, list[str], str, frozenset[str]]]:
    """(version, the group shown as root, mount point, controllers) of every mounted cgroup hierarchy."""
    for line in (_read(root, "proc/self/mountinfo") or "").splitlines():
        before, _, after = line.partition(" - ")
        mount, source = before.split(), after.split()
        if len(mount) < 5 or len(source) < 3 or source[0] not in ("cgroup", "cgroup2"):
            continue
        version = 2 if source[0] == "cgroup2" else 1
        folder = os.path.join(root, mount[4].lstrip("/"))
        yield version, _parts(mount[3]), folder, frozenset(source[-1].split(","))


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in ("", ".")]


def _cgroup_quota(root: Root) -> float | None:
    """The CPU time that the tightest group allows, in processors; None without a limit."""
    quotas = []
    for version, folder in _cgroup_folders(root, "cpu"):
        if version == 2:
            fields = (_read(folder, "cpu.max") or "").split()
            quota, period = [*fields, "", ""][:2]
        else:
            quota = _read(folder, "cpu.cfs_quota_us") or ""
            period = _read(folder, "cpu.cfs_period_us") or ""
        if quota.isdecimal() and period.isdecimal() and int(quota) and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _memory_limit(root: Root) -> int | None:
    limits = []
    for version, folder in _cgroup_folders(root, "memory"):
        limit = _read_int(folder, "memory.max" if version == 2 else "memory.limit_in_bytes")
        if limit is not None and 0 < limit < UNLIMITED_BYTES:
            limits.append(limit)
    return min(limits, default=None)


# --- processor and memory --------------------------------------------------------------------------


def _cpu_model(root: Root) -> str | None:
    """Names of the cores, with their counts where the machine mixes several."""
    blocks = [
        {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in block.splitlines())}
        for block in (_read(root, "proc/cpuinfo") or "").split("\n\n")
    ]
    names = Counter(filter(None, (_core_name(block) for block in blocks)))
    if not names:
        return platform.processor() or None
    if len(names) == 1:
        return next(iter(names))
    return " + ".join(f"{count}x {name}" for name, count in names.items())


def _core_name(block: dict[str, str]) -> str | None:
    # A Jetson's "model name" is only "ARMv8 Processor", so the id register goes first.
    try:
        key = int(block["CPU implementer"], 16), int(block["CPU part"], 16)
    except (KeyError, ValueError):
        return block.get("model name")
    return ARM_CORES.get(key) or f"ARM core {key[0]:#04x}/{key[1]:#05x}"


def _physical_cores(root: Root, online: list[int]) -> int | None:
    cores = set()
    for folder in _cpu_folders(root, online):
        core = _read(folder, "topology/core_id")
        if core is None:
            return None
        cores.add((_read(folder, "topology/physical_package_id"), core))
    return len(cores)


def _caches(root: Root, online: list[int]) -> list[dict[str, Any]]:
    units: dict[tuple[int, str, int, int], set[str]] = {}
    for folder in _cpu_folders(root, online):
        for cache in _cache_folders(folder):
            level, kind, size = _read_int(cache, "level"), _read(cache, "type"), _read(cache, "size")
            match = re.fullmatch(r"(\d+)([KM]?)", size or "")
            if level is None or kind is None or match is None:
                continue
            size_bytes = int(match[1]) << {"": 0, "K": 10, "M": 20}[match[2]]
            # A cache without a list of its processors belongs to this one alone.
            shared = _read(cache, "shared_cpu_list") or os.path.basename(folder).removeprefix("cpu")
            key = (level, kind.lower(), size_bytes, len(_cpu_list(shared)))
            units.setdefault(key, set()).add(shared)
    return [
        {"level": level, "type": kind, "size_bytes": size, "shared_by": shared_by, "count": len(lists)}
        for (level, kind, size, shared_by), lists in sorted(units.items())
    ]


def _cache_folders(cpu: str) -> list[str]:
    folder = os.path.join(cpu, "cache")
    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return []
    return [os.path.join(folder, name) for name in names if re.match("index[0-9]", name)]


def _isa() -> dict[str, Any] | None:
    try:
        isa = importlib.import_module("edgecv._isa")
    except ImportError:
        return None
    # EDGECV_ISA may name one that this CPU lacks: the identity says so, whoever uses the kernels raises.
    try:
        return {"usable": list(isa.usable()), "active": isa.active(), "error": None}
    except (RuntimeError, ValueError) as error:
        return {"usable": list(isa.usable()), "active": None, "error": str(error)}


def _governors(root: Root, online: list[int]) -> list[str] | None:
    names = {_read(folder, "cpufreq/scaling_governor") for folder in _cpu_folders(root, online)}
    return sorted(filter(None, names)) or None


def _frequency_mhz(root: Root, online: list[int]) -> dict[str, float | None] | None:
    """Limits that the governor may use and the present frequencies, over all processors."""

    def read(name: str) -> list[int]:
        values = (_read_int(folder, f"cpufreq/{name}") for folder in _cpu_folders(root, online))
        return [value for value in values if value is not None]

    def to_mhz(khz: int | None) -> float | None:
        return None if khz is None else khz / 1000

    low, high = read("scaling_min_freq"), read("scaling_max_freq")
    if not low and not high:
        return None
    return {
        "min": to_mhz(min(low, default=None)),
        "max": to_mhz(max(high, default=None)),
        "current": to_mhz(max(read("scaling_cur_freq"), default=None)),
    }


def _memory_total(root: Root) -> int | None:
    match = re.search(r"^MemTotal:\s+(\d+) kB", _read(root, "proc/meminfo") or "", re.MULTILINE)
    if match:
        return int(match[1]) << 10
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


# --- board and software ----------------------------------------------------------------------------


def _board(root: Root) -> dict[str, str | None]:
    model = _read(root, "proc/device-tree/model")
    if model is None:
        dmi = os.path.join(root, "sys/class/dmi/id")
        words = (_read(dmi, "sys_vendor"), _read(dmi, "product_name"))
        model = " ".join(word for word in words if word) or None
    release = re.match(r"# (R\d+) \(release\), REVISION: ([\d.]+)", _read(root, "etc/nv_tegra_release") or "")
    return {
        "model": model,
        "power_mode": _jetson_power_mode(root),
        "release": f"L4T {release[1]}.{release[2]}" if release else None,
    }


def _jetson_power_mode(root: Root) -> str | None:
    """The mode that nvpmodel last set, by number and name, or the default that it sets at boot."""
    config = _read(root, "etc/nvpmodel.conf") or ""
    chosen = re.search(r"pmode:\s*(\d+)", _read(root, "var/lib/nvpmodel/status") or "")
    chosen = chosen or re.search(r"^<\s*PM_CONFIG\s+DEFAULT=(\d+)", config, re.MULTILINE)
    if chosen is None:
        return None
    number = int(chosen[1])
    for found, name in re.findall(r"^<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)", config, re.MULTILINE):
        if int(found) == number:
            return f"{number} {name}"
    return str(number)


def _os_name(root: Root) -> str | None:
    match = re.search(r'^PRETTY_NAME="?([^"\n]+)', _read(root, "etc/os-release") or "", re.MULTILINE)
    return match[1] if match else platform.system() or None


def _library_version(name: str) -> str | None:
    """The version without importing it; "unknown" for a library that is there without metadata."""
    loaded = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(loaded, str):
        return loaded
    # A dozen modules that nothing else here needs.
    from importlib import metadata
    from importlib.util import find_spec

    for distribution in DISTRIBUTIONS[name]:
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    # The cv2 of a Jetson comes from the system, without metadata.
    try:
        return "unknown" if find_spec(name) else None
    except (ImportError, ValueError):
        return None
