#!/usr/bin/env bash
# Compiles the native modules with AddressSanitizer and UndefinedBehaviorSanitizer and runs their tests.
#
# Everything goes to build/sanitize; the modules in the source tree stay as they are. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."

out=$PWD/build/sanitize
tree=$out/tree
python=${PYTHON:-$PWD/.venv/bin/python}
compiler=${CXX:-g++}

fail() {
    echo "test-sanitize: $1" >&2
    exit 1
}

# A copy of the sources, and their modules compiled with the flags of setup.py.
build_modules() {
    rm -rf "$tree"
    mkdir -p "$tree"
    cp -r edgecv tests pyproject.toml "$tree"
    find "$tree" -name '*.so' -delete
    EDGECV_SANITIZE=1 "$python" setup.py -q build_ext --build-lib "$tree" --build-temp "$out/temp" \
        > "$out/build.log" 2>&1 || { cat "$out/build.log" >&2; fail 'the modules do not compile'; }
}

# A test that runs without the sanitizers finds nothing.
check_modules() {
    local module
    for module in "$tree"/edgecv/*.so; do
        for symbol in __asan_init __ubsan_handle; do
            # Read to its end: a reader that leaves early would look like a failure of nm.
            nm -D --undefined-only "$module" | grep "$symbol" > /dev/null || fail "$module does not call $symbol"
        done
    done
    echo "test-sanitize: $(basename -a "$tree"/edgecv/*.so | cut -d. -f1 | tr '\n' ' ')by $("$compiler" --version | head -1)"
}

[ -x "$python" ] || fail "no Python at $python; run make setup, or name one with PYTHON="
build_modules
check_modules

# The C++ library comes along so that its exceptions are seen from the start. Python keeps memory to its end.
cd "$tree"
LD_PRELOAD="$("$compiler" -print-file-name=libasan.so) $("$compiler" -print-file-name=libstdc++.so.6)"
export LD_PRELOAD
export ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1
export PYTHONMALLOC=malloc PYTHONDONTWRITEBYTECODE=1
tests=(
    tests/test_image.py tests/test_image_errors.py tests/test_image_yuv.py tests/test_frame.py tests/test_boxes.py tests/test_boxes_errors.py
    tests/test_rois.py tests/test_rois_errors.py tests/test_isa.py tests/kernels
    tests/engine/test_engine_plan.py tests/engine/test_engine_pool.py
)
exec "$python" -m pytest -p no:cacheprovider "${tests[@]}" "$@"
