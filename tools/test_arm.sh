#!/usr/bin/env bash
# Compiles the native modules for ARMv8.0-A and runs their tests on an emulated Cortex-A57.
#
# Needs Debian's or Ubuntu's packages (see `packages` below; root installs them by itself). The arm64
# Python that runs the tests is unpacked, not installed, under build/arm and kept there.
set -euo pipefail
cd "$(dirname "$0")/.."

arm=$PWD/build/arm
root=$arm/root
host_python=${PYTHON:-$PWD/.venv/bin/python}
packages=(g++-aarch64-linux-gnu qemu-user)
wheels=(numpy msgspec pytest hypothesis)

fail() {
    echo "test-arm: $1" >&2
    exit 1
}

install_tools() {
    if command -v aarch64-linux-gnu-g++ > /dev/null && command -v qemu-aarch64 > /dev/null; then return; fi
    echo "test-arm: installing ${packages[*]}"
    if [ "$(id -u)" = 0 ] && command -v apt-get > /dev/null; then
        apt-get -q update > /dev/null
        DEBIAN_FRONTEND=noninteractive apt-get -qq install --no-install-recommends "${packages[@]}" > /dev/null
    else
        fail "needs a cross compiler and an emulator; install them with: apt-get install ${packages[*]}"
    fi
}

# apt-get for arm64 with lists of its own, so that the system's architectures stay as they are.
arm_apt() {
    local program=$1
    shift
    "$program" -qq \
        -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User= \
        -o Dir::State::Lists="$arm/apt/lists" -o Dir::State::status="$arm/apt/status" \
        -o Dir::Cache="$arm/apt/cache" "$@"
}

# Unpacks the distribution's own Python for arm64 and what it links to into $root.
unpack_python() {
    if [ -e "$root/.complete" ]; then return; fi
    echo 'test-arm: fetching an arm64 Python'
    command -v apt-get > /dev/null || fail 'needs apt-get to fetch an arm64 Python'
    rm -rf "$root" "$arm/apt"
    mkdir -p "$root" "$arm/apt/lists/partial" "$arm/apt/cache/archives/partial" "$arm/apt/debs"
    : > "$arm/apt/status"
    arm_apt apt-get update
    local python
    python=$(arm_apt apt-cache depends python3-minimal | sed -n 's/.*Depends: \(python3\.[0-9]*\)-minimal$/\1/p')
    [ -n "$python" ] || fail 'found no python3 for arm64 among the packages'
    # The rest of Python's own dependencies are data and helpers that the tests do not touch.
    local wanted="$python-minimal lib$python-minimal lib$python-stdlib lib$python-dev"
    wanted+=" libc6 libgcc-s1 libstdc++6 zlib1g libexpat1 libffi8 libssl3 libssl3t64 libbz2-1.0 liblzma5"
    wanted+=" libcrypt1 libuuid1 libsqlite3-0"
    local available
    # shellcheck disable=SC2086
    available=$(arm_apt apt-cache show $wanted 2> /dev/null | sed -n 's/^Package: //p' | sort -u)
    # shellcheck disable=SC2086
    (cd "$arm/apt/debs" && arm_apt apt-get download $available)
    local deb
    for deb in "$arm"/apt/debs/*.deb; do dpkg-deb -x "$deb" "$root"; done
    rm -rf "$arm/apt"
    echo "$python" > "$root/.complete"
}

# What edgecv's native modules and their tests import, for arm64.
install_site() {
    if [ "$(cat "$site/.complete" 2> /dev/null)" = "${wheels[*]}" ]; then return; fi
    echo "test-arm: installing ${wheels[*]} for arm64"
    rm -rf "$site"
    "$host_python" -m pip install --quiet --disable-pip-version-check --target "$site" \
        --only-binary :all: --implementation cp --python-version "${python#python}" \
        --platform manylinux2014_aarch64 --platform manylinux_2_27_aarch64 --platform manylinux_2_28_aarch64 \
        "${wheels[@]}"
    echo "${wheels[*]}" > "$site/.complete"
}

# A copy of the sources, and their modules compiled with the flags of setup.py.
build_modules() {
    rm -rf "$tree"
    mkdir -p "$tree"
    cp -r edgecv tests pyproject.toml "$tree"
    find "$tree" -name '*.so' -delete
    local headers="-I$root/usr/include/$python -I$root/usr/include"
    EDGECV_TARGET_MACHINE=aarch64 \
        CC=aarch64-linux-gnu-gcc CXX=aarch64-linux-gnu-g++ \
        LDSHARED='aarch64-linux-gnu-g++ -shared' LDCXXSHARED='aarch64-linux-gnu-g++ -shared' \
        CFLAGS="$headers" CXXFLAGS="$headers" LDFLAGS= \
        SETUPTOOLS_EXT_SUFFIX=".cpython-${python//[!0-9]/}-aarch64-linux-gnu.so" \
        "$host_python" setup.py -q build_ext --build-lib "$tree" --build-temp "$arm/temp" > "$arm/build.log" 2>&1 ||
        { cat "$arm/build.log" >&2; fail 'the modules do not compile for ARMv8.0-A'; }
    mkdir -p "$tree/build"
    ln -s "$PWD/build/kernels" "$tree/build/kernels"
}

# A command that is the emulated Python, for subprocesses of the tests too.
write_launcher() {
    cat > "$arm/python" <<- END
	#!/bin/sh
	export QEMU_CPU=cortex-a57 QEMU_LD_PREFIX='$root' PYTHONHOME='$root/usr' PYTHONPATH='$site'
	exec qemu-aarch64 -0 "\$0" '$root/usr/bin/$python' "\$@"
	END
    chmod +x "$arm/python"
}

[ -x "$host_python" ] || fail "no Python at $host_python; run make setup, or name one with PYTHON="
install_tools
unpack_python
python=$(cat "$root/.complete")
site=$arm/site-$python
tree=$arm/tree
install_site
build_modules
write_launcher

cd "$tree"
export EDGECV_TEST_PROFILE=emulated NM=aarch64-linux-gnu-nm PYTHONDONTWRITEBYTECODE=1
unset EDGECV_ISA
exec "$arm/python" -m pytest -p no:cacheprovider \
    tests/test_image.py tests/test_image_errors.py tests/test_image_yuv.py tests/test_frame.py tests/test_boxes.py tests/test_boxes_errors.py \
    tests/test_rois.py tests/test_rois_errors.py tests/test_isa.py tests/kernels \
    tests/engine/test_engine_plan.py tests/engine/test_engine_pool.py "$@"
