"""`edgecv.machine` on the trees of machines that are not this one."""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgecv import machine

CGROUP2 = "30 23 0:26 {shown} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
CGROUP1_CPU = "33 30 0:29 {shown} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
CGROUP1_MEMORY = "35 30 0:31 {shown} /sys/fs/cgroup/memory rw shared:11 - cgroup cgroup rw,memory\n"

TX2_CPUINFO = """\
processor\t: 0
model name\t: ARMv8 Processor rev 3 (v8l)
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd07

processor\t: 1
model name\t: ARMv8 Processor rev 0 (v8l)
CPU implementer\t: 0x4e
CPU architecture: 8
CPU part\t: 0x003

processor\t: 3
model name\t: ARMv8 Processor rev 3 (v8l)
CPU implementer\t: 0x41
CPU architecture: 8
CPU part\t: 0xd07
"""
X86_CPUINFO = "processor\t: 0\nmodel name\t: A CPU @ 2.00GHz\nflags\t: sse4_2\n\n" * 2
PI_CPUINFO = """\
processor\t: 0
CPU implementer\t: 0x41
CPU part\t: 0xd08

Hardware\t: BCM2835
Model\t\t: Raspberry Pi 4 Model B Rev 1.4
"""
NVPMODEL = """\
# comment: < POWER_MODEL ID=9 NAME=NOT_ME >
< POWER_MODEL ID=0 NAME=MAXN >
CPU_ONLINE CORE_1 1
< POWER_MODEL ID=3 NAME=MAXP_CORE_ARM >
< PM_CONFIG DEFAULT=3 >
"""


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


@pytest.fixture
def eight_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)


QUOTAS = [
    pytest.param({}, None, 8, id="no cgroups"),
    pytest.param(
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": CGROUP2.format(shown="/"),
            "sys/fs/cgroup/cpu.max": "max 100000",
        },
        None,
        8,
        id="v2 unlimited",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": CGROUP2.format(shown="/"),
            "sys/fs/cgroup/cpu.max": "250000 100000",
        },
        2.5,
        2,
        id="v2 in a namespace, fraction dropped",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "0::/a/b\n",
            "proc/self/mountinfo": CGROUP2.format(shown="/"),
            "sys/fs/cgroup/a/cpu.max": "300000 100000",
            "sys/fs/cgroup/a/b/cpu.max": "600000 100000",
        },
        3.0,
        3,
        id="v2 a group above is tighter",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "0::/docker/x/inner\n",
            "proc/self/mountinfo": CGROUP2.format(shown="/docker/x"),
            "sys/fs/cgroup/inner/cpu.max": "400000 100000",
        },
        4.0,
        4,
        id="v2 container without a namespace",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "0::/../../host\n",
            "proc/self/mountinfo": CGROUP2.format(shown="/"),
            "sys/fs/cgroup/cpu.max": "200000 100000",
        },
        2.0,
        2,
        id="v2 group outside the namespace",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "4:memory:/m\n3:cpu,cpuacct:/docker/x\n",
            "proc/self/mountinfo": CGROUP1_MEMORY.format(shown="/") + CGROUP1_CPU.format(shown="/docker/x"),
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "50000",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
        0.5,
        1,
        id="v1 less than one",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "3:cpu,cpuacct:/\n",
            "proc/self/mountinfo": CGROUP1_CPU.format(shown="/"),
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000",
        },
        None,
        8,
        id="v1 unlimited",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "nonsense\n0::/\n",
            "proc/self/mountinfo": "short line\n1 2 - cgroup2\n" + CGROUP2.format(shown="/"),
            "sys/fs/cgroup/cpu.max": "0 0",
        },
        None,
        8,
        id="malformed",
    ),
    pytest.param(
        {
            "proc/self/cgroup": "0::/\n",
            "proc/self/mountinfo": CGROUP2.format(shown="/"),
            "sys/fs/cgroup/cpu.max": "6400000 100000",
        },
        64.0,
        8,
        id="quota over affinity",
    ),
]


@pytest.mark.usefixtures("eight_cpus")
@pytest.mark.parametrize(("files", "quota", "budget"), QUOTAS)
def test_cpu_budget(tmp_path: Path, files: dict[str, str], quota: float | None, budget: int) -> None:
    root = tree(tmp_path, files)
    assert machine.identity(root)["cpu"]["cgroup_quota"] == quota
    assert machine.cpu_budget(root) == budget


def test_cpu_budget_obeys_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {5, 2, 3}, raising=False)
    assert machine.cpu_budget(tmp_path) == 3
    assert machine.identity(tmp_path)["cpu"]["affinity"] == [2, 3, 5]


def test_a_system_without_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert machine.cpu_budget(tmp_path) == 1


@pytest.mark.parametrize(
    ("text", "model"),
    [
        pytest.param(TX2_CPUINFO, "2x Cortex-A57 + 1x Denver 2", id="tx2"),
        pytest.param(X86_CPUINFO, "A CPU @ 2.00GHz", id="x86"),
        pytest.param(PI_CPUINFO, "Cortex-A72", id="pi"),
        pytest.param(
            "CPU implementer : 0x61\nCPU part : 0x022\n", "ARM core 0x61/0x022", id="an unlisted part"
        ),
        pytest.param("CPU implementer : soon\nmodel name : X\n", "X", id="malformed id"),
    ],
)
def test_cpu_model(tmp_path: Path, text: str, model: str) -> None:
    root = tree(tmp_path, {"proc/cpuinfo": text})
    assert machine.identity(root)["cpu"]["model"] == model


def test_processors_caches_and_clocks(tmp_path: Path) -> None:
    files = {"sys/devices/system/cpu/online": "0,2-3\n"}
    for number, core in ((0, 0), (2, 1), (3, 1)):
        cpu = f"sys/devices/system/cpu/cpu{number}"
        files |= {
            f"{cpu}/topology/core_id": str(core),
            f"{cpu}/topology/physical_package_id": "0",
            f"{cpu}/cache/index0/level": "1",
            f"{cpu}/cache/index0/type": "Data",
            f"{cpu}/cache/index0/size": "32K",
            f"{cpu}/cache/index0/shared_cpu_list": str(number),
            f"{cpu}/cache/index2/level": "2",
            f"{cpu}/cache/index2/type": "Unified",
            f"{cpu}/cache/index2/size": "2M",
            f"{cpu}/cache/index2/shared_cpu_list": "0,2-3",
            f"{cpu}/cache/index3/level": "3",
            f"{cpu}/cache/index3/type": "Unified",
            f"{cpu}/cache/index3/size": "unreadable",
            f"{cpu}/cpufreq/scaling_governor": "performance" if number else "schedutil",
            f"{cpu}/cpufreq/scaling_min_freq": "345600",
            f"{cpu}/cpufreq/scaling_max_freq": "2035200" if number else "1881600",
            f"{cpu}/cpufreq/scaling_cur_freq": str(345600 + number),
        }
    cpu = machine.identity(tree(tmp_path, files))["cpu"]
    assert (cpu["logical"], cpu["physical"]) == (3, 2)
    assert cpu["caches"] == [
        {"level": 1, "type": "data", "size_bytes": 32768, "shared_by": 1, "count": 3},
        {"level": 2, "type": "unified", "size_bytes": 2 << 20, "shared_by": 3, "count": 1},
    ]
    assert cpu["governors"] == ["performance", "schedutil"]
    assert cpu["frequency_mhz"] == {"min": 345.6, "max": 2035.2, "current": 345.603}


@pytest.mark.parametrize(
    ("files", "board"),
    [
        pytest.param(
            {
                "proc/device-tree/model": "quill\0",
                "etc/nvpmodel.conf": NVPMODEL,
                "var/lib/nvpmodel/status": "pmode:0000 fmode:cool",
                "etc/nv_tegra_release": "# R32 (release), REVISION: 7.1, GCID: 1, BOARD: t186ref",
            },
            {"model": "quill", "power_mode": "0 MAXN", "release": "L4T R32.7.1"},
            id="jetson",
        ),
        pytest.param(
            {"proc/device-tree/model": "quill\0", "etc/nvpmodel.conf": NVPMODEL},
            {"model": "quill", "power_mode": "3 MAXP_CORE_ARM", "release": None},
            id="jetson at its boot default",
        ),
        pytest.param(
            {"var/lib/nvpmodel/status": "pmode:0007"},
            {"model": None, "power_mode": "7", "release": None},
            id="a mode without a name",
        ),
        pytest.param(
            {"sys/class/dmi/id/sys_vendor": "ACME\n", "sys/class/dmi/id/product_name": "Box 1\n"},
            {"model": "ACME Box 1", "power_mode": None, "release": None},
            id="pc",
        ),
        pytest.param({}, {"model": None, "power_mode": None, "release": None}, id="nothing"),
    ],
)
def test_board(tmp_path: Path, files: dict[str, str], board: dict[str, Any]) -> None:
    assert machine.identity(tree(tmp_path, files))["board"] == board


def test_memory(tmp_path: Path) -> None:
    root = tree(
        tmp_path,
        {
            "proc/meminfo": "MemTotal:        8040448 kB\nMemFree: 1 kB\n",
            "proc/self/cgroup": "5:memory:/a\n0::/a\n",
            "proc/self/mountinfo": CGROUP1_MEMORY.format(shown="/") + CGROUP2.format(shown="/"),
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": str((1 << 63) - 4096),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "4294967296",
            "sys/fs/cgroup/a/memory.max": "max",
        },
    )
    assert machine.identity(root)["memory"] == {"total_bytes": 8040448 << 10, "limit_bytes": 1 << 32}


def test_memory_where_proc_is_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.__getitem__)
    assert machine.identity(tmp_path)["memory"]["total_bytes"] == 4096000
    monkeypatch.delattr(os, "sysconf")
    assert machine.identity(tmp_path)["memory"]["total_bytes"] is None


def fake_isa(monkeypatch: pytest.MonkeyPatch, active: Any) -> None:
    module = ModuleType("edgecv._isa")
    module.usable = lambda: ("sse42", "avx2")  # type: ignore[attr-defined]
    module.active = active  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "edgecv._isa", module)
    monkeypatch.setattr(sys.modules["edgecv"], "_isa", module, raising=False)


def test_isa(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_isa(monkeypatch, lambda: "avx2")
    isa = machine.identity(tmp_path)["cpu"]["isa"]
    assert isa == {"usable": ["sse42", "avx2"], "active": "avx2", "error": None}


def test_a_forced_isa_that_is_unusable_is_told_not_raised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def active() -> str:
        raise RuntimeError("EDGECV_ISA=avx512: not supported by this CPU")

    fake_isa(monkeypatch, active)
    isa = machine.identity(tmp_path)["cpu"]["isa"]
    assert isa["active"] is None
    assert "avx512" in isa["error"]


def test_library_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import numpy

    def version(name: str) -> str:
        if name in ("onnxruntime-gpu", "opencv-python"):
            return f"{name} 1"
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name == "tensorrt" or None)
    for name in ("cv2", "onnx", "onnxruntime", "tensorrt"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    libraries = machine.identity(tmp_path)["libraries"]
    assert libraries["numpy"] == numpy.__version__, "a loaded module tells its own version"
    assert libraries["onnxruntime"] == "onnxruntime-gpu 1"
    assert libraries["cv2"] == "opencv-python 1"
    assert libraries["tensorrt"] == "unknown", "there, but without metadata"
    assert libraries["onnx"] is None


def test_a_system_cv2_that_is_loaded_tells_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cv2 = ModuleType("cv2")
    cv2.__version__ = "4.1.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    assert machine.identity(tmp_path)["libraries"]["cv2"] == "4.1.1"


def test_identity_is_json_and_described_in_one_line(tmp_path: Path) -> None:
    for root in (machine.ROOT, tmp_path):
        identity = machine.identity(root)
        assert json.loads(json.dumps(identity)) == identity
        line = machine.describe(identity)
        assert "\n" not in line
        assert f"{identity['cpu']['usable']} of {identity['cpu']['logical']} CPUs" in line


def test_describe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_isa(monkeypatch, lambda: "avx2")
    root = tree(
        tmp_path,
        {
            "proc/cpuinfo": TX2_CPUINFO,
            "proc/device-tree/model": "quill\0",
            "proc/meminfo": "MemTotal: 8388608 kB",
            "etc/nvpmodel.conf": NVPMODEL,
            "etc/os-release": 'NAME=x\nPRETTY_NAME="Ubuntu 18.04.6 LTS"\n',
            "sys/devices/system/cpu/online": "0-1",
            "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "schedutil",
        },
    )
    line = machine.describe(machine.identity(root))
    for part in ("quill; 2x Cortex-A57 + 1x Denver 2; ", "avx2", "governor schedutil", "8.0 GiB"):
        assert part in line
    assert "power mode 3 MAXP_CORE_ARM" in line
    assert "Ubuntu 18.04.6 LTS" in line
