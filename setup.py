"""The build of the native modules: each kernel file is compiled once per ISA, with its own flags."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).parent
DEBUG = os.environ.get("EDGECV_DEBUG") == "1"
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
COMMON_FLAGS = ["-std=c++17", "-ffp-contract=off", "-fvisibility=hidden", "-Wall", "-Wextra"]
COMMON_FLAGS += ["-O1", "-g", "-fno-omit-frame-pointer"] if DEBUG else ["-O3"]
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


# Kernel files of each module. Kept apart from the Extension, which cythonize() makes anew.
KERNELS: dict[str, list[str]] = {}


def native_module(name: str, sources: list[str], kernels: list[str], headers: list[str]) -> Extension:
    """A Cython module over C++ sources of baseline code, and kernel files compiled once per ISA.

    A kernel file reads `ECV_ISA`, the ISA's name, and exports one symbol that carries it.
    """
    KERNELS[name] = kernels
    return Extension(
        name,
        sources,
        include_dirs=["ext/isa", *sorted({str(Path(s).parent) for s in sources})],
        extra_compile_args=COMMON_FLAGS + BASELINE_FLAGS[MACHINE],
        depends=[*headers, *kernels],
        language="c++",
    )


class BuildNative(build_ext):
    """Compiles the kernel files of each module before the module itself, and links them in."""

    def initialize_options(self) -> None:
        super().initialize_options()
        self.kernel_objects: dict[tuple[str, str], list[str]] = {}

    def build_extension(self, ext: Extension) -> None:
        ext.extra_objects = [
            object
            for isa in ISA_FLAGS[MACHINE]
            for kernel in KERNELS[ext.name]
            for object in self.compile_kernel(ext, kernel, isa)
        ]
        super().build_extension(ext)

    def compile_kernel(self, ext: Extension, kernel: str, isa: str) -> list[str]:
        """The object of a kernel file for one ISA; modules that share it share the object."""
        if (kernel, isa) not in self.kernel_objects:
            self.kernel_objects[kernel, isa] = self.compiler.compile(
                [kernel],
                # In one place for every kind of build, where tests look at their symbols.
                output_dir=str(Path("build", "kernels", MACHINE, isa)),
                macros=[("ECV_ISA", isa)],
                include_dirs=ext.include_dirs,
                extra_postargs=COMMON_FLAGS + KERNEL_FLAGS + ISA_FLAGS[MACHINE][isa],
                depends=ext.depends,
            )
        return self.kernel_objects[kernel, isa]


ISA_HEADERS = ["ext/isa/isa.h", "ext/isa/vec.h", "ext/isa/vec_math.h"]
ISA_HEADERS += [f"ext/isa/vec_{isa}.h" for flags in ISA_FLAGS.values() for isa in flags]
MODULES = [
    native_module("edgecv._isa", ["ext/isa/_isa.pyx", "ext/isa/isa.cpp"], kernels=[], headers=ISA_HEADERS),
    native_module(
        "edgecv._image",
        [
            "ext/image/_image.pyx",
            "ext/image/dispatch.cpp",
            "ext/image/plan.cpp",
            "ext/image/run.cpp",
            "ext/image/taps.cpp",
            "ext/isa/isa.cpp",
        ],
        kernels=["ext/image/kernels.cpp"],
        headers=[
            *ISA_HEADERS,
            "ext/image/image.h",
            "ext/image/plan.h",
            "ext/image/plan_state.h",
            "ext/image/taps.h",
        ],
    ),
    native_module(
        "edgecv._boxes",
        [
            "ext/boxes/_boxes.pyx",
            "ext/boxes/dispatch.cpp",
            "ext/boxes/select.cpp",
            "ext/boxes/nms.cpp",
            "ext/boxes/soft_nms.cpp",
            "ext/boxes/geometry.cpp",
            "ext/boxes/order.cpp",
            "ext/isa/isa.cpp",
        ],
        kernels=["ext/boxes/kernels.cpp"],
        headers=[*ISA_HEADERS, "ext/boxes/boxes.h", "ext/boxes/workspace.h"],
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
        headers=[*ISA_HEADERS, "ext/rois/rois.h", "ext/boxes/boxes.h", "ext/boxes/workspace.h"],
    ),
]

setup(
    packages=[*find_packages(include=["edgecv", "edgecv.*"]), "edgecv.models"],
    # Cards live at the top of the source tree, and inside the package once it is installed.
    package_dir={"edgecv.models": "models"},
    package_data={
        "edgecv": ["py.typed", "*.pyi"],
        "edgecv.report": ["*.css", "page.html"],
        "edgecv.models": ["*/*"],
    },
    exclude_package_data={"edgecv.models": ["*/*.py"]},
    ext_modules=cythonize(
        MODULES, compiler_directives=DIRECTIVES, include_path=["ext/isa"], build_dir="build/cython"
    ),
    cmdclass={"build_ext": BuildNative},
)
