"""The build of the native modules: each kernel file is compiled once per ISA, with its own flags."""

from __future__ import annotations

import os
import platform
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import Cython
from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
SANITIZE = os.environ.get("EDGECV_SANITIZE") == "1"
DEBUG = SANITIZE or os.environ.get("EDGECV_DEBUG") == "1"
# Objects of one kind of build are of no use to another.
BUILD = Path("build", "sanitize" if SANITIZE else "debug") if DEBUG else Path("build")
# The target decides, not the machine that builds: a cross build names it.
MACHINE = os.environ.get("EDGECV_TARGET_MACHINE", platform.machine()).lower()

BASELINE_FLAGS = {"x86_64": ["-march=x86-64-v2"], "aarch64": ["-march=armv8-a"]}
ISA_FLAGS = {
    "x86_64": {
        "sse42": ["-march=x86-64-v2"],
        "avx2": ["-march=x86-64-v3"],
        "avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    },
    "aarch64": {"neon": ["-march=armv8-a"]},
}
# -ffp-contract=off: a fused multiply-add rounds once where the baseline rounds twice.
COMMON_FLAGS = [
    "-std=c++17",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
]
# Python's own flags ask for debug information, ten times the size of the code.
COMMON_FLAGS += ["-O1", "-g", "-fno-omit-frame-pointer"] if DEBUG else ["-O3", "-g0"]
# Their reports name the line; the first one ends the process.
SANITIZE_FLAGS = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all"] if SANITIZE else []
COMMON_FLAGS += SANITIZE_FLAGS
LINK_FLAGS = ["-pthread", *SANITIZE_FLAGS]
KERNEL_FLAGS = ["-fno-lto", "-fno-exceptions", "-fno-rtti"]
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": DEBUG,
    "wraparound": False,
    "cdivision": True,
    "initializedcheck": DEBUG,
    "embedsignature": True,
}

if MACHINE == "amd64":
    MACHINE = "x86_64"
if MACHINE == "arm64":
    MACHINE = "aarch64"
if MACHINE not in ISA_FLAGS:
    sys.exit(f"edgecv: no kernels for {MACHINE}; it builds for {', '.join(ISA_FLAGS)}")


# Sources and kernel files of each module, as they are written below: cythonize() makes the Extension anew.
SOURCES: dict[str, list[str]] = {}
KERNELS: dict[str, list[str]] = {}


def native_module(name: str, sources: list[str], kernels: list[str]) -> Extension:
    """A Cython module over C++ sources of baseline code, and kernel files compiled once per ISA.

    A kernel file reads `ECV_ISA`, the ISA's name, and exports one symbol that carries it.
    """
    SOURCES[name] = sources
    KERNELS[name] = kernels
    return Extension(
        name,
        sources,
        extra_link_args=LINK_FLAGS,
        language="c++",
    )


@dataclass(frozen=True)
class Job:
    """One object: where it goes, and what it is made of."""

    source: str
    folder: str
    flags: tuple[str, ...]
    macros: tuple[tuple[str, str], ...] = ()


class BuildNative(build_ext):
    """Compiles each source of the modules and each kernel file for each ISA, where it has changed."""

    def build_extensions(self) -> None:
        jobs = {ext.name: self.jobs(ext) for ext in self.extensions}
        # A source that modules share is compiled once.
        every = {(job.source, job.folder): job for of_one in jobs.values() for job in of_one}
        with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
            objects = dict(zip(every, threads.map(self.compile, every.values()), strict=True))
        for ext in self.extensions:
            ext.sources = []
            ext.extra_objects = [objects[job.source, job.folder] for job in jobs[ext.name]]
            ext.depends = ext.extra_objects
        super().build_extensions()

    def jobs(self, ext: Extension) -> list[Job]:
        """The objects of a module."""
        # For #include "..." alone: no header here may stand in for one of the system.
        folders = sorted({"ext/isa", *(str(Path(source).parent) for source in SOURCES[ext.name])})
        quoted = [flag for folder in folders for flag in ("-iquote", folder)]
        baseline = tuple(COMMON_FLAGS + BASELINE_FLAGS[MACHINE] + quoted)
        # Kept between builds: setuptools' own folder is a new one for each editable install.
        folder = str(BUILD / "modules" / f"{MACHINE}-{sys.implementation.cache_tag}")
        jobs = [Job(source, folder, baseline) for source in ext.sources]
        for isa, isa_flags in ISA_FLAGS[MACHINE].items():
            # In one place for every kind of build, where tests look at their symbols.
            folder = str(BUILD / "kernels" / MACHINE / isa)
            flags = tuple(COMMON_FLAGS + KERNEL_FLAGS + isa_flags + quoted)
            macros = (("ECV_ISA", isa),)
            jobs += [Job(kernel, folder, flags, macros) for kernel in KERNELS[ext.name]]
        return jobs

    def compile(self, job: Job) -> str:
        """The object of a job, compiled unless it is newer than all that it was made of."""
        (name,) = self.compiler.object_filenames([job.source], output_dir=job.folder)
        parts, command = Path(f"{name}.d"), Path(f"{name}.command")
        environment = [os.environ.get(key) for key in ("CC", "CXX", "CPPFLAGS", "CFLAGS", "CXXFLAGS")]
        line = repr((job, environment))
        if self.force or not is_current(Path(name), parts) or command.read_text() != line:
            command.unlink(missing_ok=True)
            started = time.time()
            self.compiler.compile(
                [job.source],
                output_dir=job.folder,
                macros=list(job.macros),
                extra_postargs=[*job.flags, "-MMD", "-MF", str(parts)],
            )
            os.utime(name, (started, started))  # what is edited meanwhile is newer
            command.write_text(line)
        return str(name)


def is_current(target: Path, parts: Path) -> bool:
    """Whether a target is newer than the files that the compiler listed in `parts` when it made it."""
    if not target.exists() or not parts.exists() or not Path(f"{target}.command").exists():
        return False
    _, _, listed = parts.read_text().replace("\\\n", " ").partition(": ")
    made = target.stat().st_mtime
    files = [Path(file) for file in listed.split()]
    return all(file.exists() and file.stat().st_mtime < made for file in files)


def translated(module: Extension) -> Extension:
    """The module with C++ in place of Cython.

    Cython's own check also looks at its declarations, which pip installs anew for each build.
    """
    source, *others = module.sources
    target = BUILD / "cython" / Path(source).with_suffix(".cpp")
    if is_translated(target):
        module.sources = [str(target), *others]
        return module
    done: list[Extension] = cythonize(
        [module],
        compiler_directives=DIRECTIVES,
        include_path=["ext/isa"],
        build_dir=str(BUILD / "cython"),
        force=True,
    )
    return done[0]


def is_translated(target: Path) -> bool:
    """Whether this Cython made a file after the last change of all that it may have been made of.

    Headers too: Cython puts copies of them beside the file, which is compiled with those.
    """
    if not target.exists():
        return False
    parts = [
        ROOT / "setup.py",
        *ROOT.glob("ext/**/*.pyx"),
        *ROOT.glob("ext/**/*.px[di]"),
        *ROOT.glob("ext/**/*.h"),
    ]
    with target.open() as file:
        by = file.readline()
    return by.startswith(f"/* Generated by Cython {Cython.__version__} ") and all(
        part.stat().st_mtime < target.stat().st_mtime for part in parts
    )


MODULES = [
    native_module("edgecv._isa", ["ext/isa/_isa.pyx", "ext/isa/isa.cpp"], kernels=[]),
    native_module(
        "edgecv._image",
        [
            "ext/image/_image.pyx",
            "ext/image/dispatch.cpp",
            "ext/image/gray16.cpp",
            "ext/image/plan.cpp",
            "ext/image/run.cpp",
            "ext/image/taps.cpp",
            "ext/isa/isa.cpp",
        ],
        kernels=["ext/image/kernels.cpp"],
    ),
    native_module(
        "edgecv._boxes",
        [
            "ext/boxes/_boxes.pyx",
            "ext/boxes/dispatch.cpp",
            "ext/boxes/select.cpp",
            "ext/boxes/nms.cpp",
            "ext/boxes/soft_nms.cpp",
            "ext/boxes/rotated.cpp",
            "ext/boxes/geometry.cpp",
            "ext/boxes/order.cpp",
            "ext/isa/isa.cpp",
        ],
        kernels=["ext/boxes/kernels.cpp"],
    ),
    native_module(
        "edgecv._rois",
        [
            "ext/rois/_rois.pyx",
            "ext/rois/dispatch.cpp",
            "ext/rois/propose.cpp",
            "ext/rois/pool.cpp",
            "ext/boxes/dispatch.cpp",
            "ext/boxes/order.cpp",
            "ext/isa/isa.cpp",
        ],
        kernels=["ext/rois/kernels.cpp", "ext/boxes/kernels.cpp"],
    ),
    native_module(
        "edgecv._simd",
        [
            "ext/simd/_simd.pyx",
            "ext/simd/band.cpp",
            "ext/simd/baseline/data_gather.cpp",
            "ext/simd/baseline/data_nms.cpp",
            "ext/simd/baseline/data_nonzero.cpp",
            "ext/simd/baseline/data_planes.cpp",
            "ext/simd/baseline/data_pool.cpp",
            "ext/simd/baseline/data_scatter.cpp",
            "ext/simd/baseline/data_topk.cpp",
            "ext/simd/baseline/elements_convert.cpp",
            "ext/simd/baseline/elements_runs.cpp",
            "ext/simd/baseline/sampling_points.cpp",
            "ext/simd/baseline/sampling_rois.cpp",
            "ext/simd/baseline/strided_copy.cpp",
            "ext/simd/baseline/strided_map.cpp",
            "ext/simd/baseline/strided_reduce.cpp",
            "ext/simd/baseline/strided_reduce_wide.cpp",
            "ext/simd/baseline/strided_softmax.cpp",
            "ext/simd/baseline/walk.cpp",
            "ext/simd/catalog.cpp",
            "ext/simd/dispatch.cpp",
            "ext/simd/examine_blocked.cpp",
            "ext/simd/examine_conv.cpp",
            "ext/simd/examine_data.cpp",
            "ext/simd/examine_sampling.cpp",
            "ext/simd/examine_strided.cpp",
            "ext/simd/memory.cpp",
            "ext/simd/plan.cpp",
            "ext/simd/threads.cpp",
            "ext/isa/isa.cpp",
        ],
        kernels=[
            "ext/simd/kernels/blocked_map.cpp",
            "ext/simd/kernels/blocked_planes.cpp",
            "ext/simd/kernels/blocked_pool.cpp",
            "ext/simd/kernels/blocked_resize.cpp",
            "ext/simd/kernels/conv.cpp",
            "ext/simd/kernels/depthwise.cpp",
            "ext/simd/kernels/sampling.cpp",
            "ext/simd/kernels/strided_copy.cpp",
            "ext/simd/kernels/strided_map.cpp",
            "ext/simd/kernels/strided_reduce.cpp",
        ],
    ),
]

# setuptools warns of a folder that could be imported and is no package.
CARDS = [f"edgecv.models.{card.parent.name}" for card in sorted((ROOT / "models").glob("*/model.json"))]

setup(
    packages=[
        *find_packages(include=["edgecv", "edgecv.*"]),
        "edgecv.models",
        *(name for name in CARDS if name.rpartition(".")[2].isidentifier()),
    ],
    # Cards live at the top of the source tree, and inside the package once it is installed.
    package_dir={"edgecv.models": "models"},
    package_data={
        "edgecv": ["py.typed", "*.pyi"],
        "edgecv.report": ["*.css", "page.html"],
        "edgecv.models": ["*/*"],
    },
    exclude_package_data={"edgecv.models": ["*/*.py"]},
    ext_modules=[translated(module) for module in MODULES],
    cmdclass={"build_ext": BuildNative},
)
