#!/usr/bin/env bash
# Runs the tests that an expression of marks selects, in two calls of pytest: first those marked `alone`,
# then those that can share the machine, on as many workers as there are processors.
#
# Usage: tools/test.sh 'not slow' [arguments of pytest]
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-$PWD/.venv/bin/python}
marks=$1
shift

"$python" -m pytest -m "($marks) and alone" "$@"
alone=$?
if [ $alone = 2 ]; then exit 2; fi # interrupted, or a file that cannot be collected
"$python" -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "($marks) and not alone" "$@"
shared=$?

# pytest returns 5 where nothing is selected, which arguments may well do to one of the two.
if [ $shared = 5 ]; then exit $alone; fi
if [ $alone = 5 ] || [ $shared != 0 ]; then exit $shared; fi
exit $alone
