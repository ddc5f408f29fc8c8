"""The interpreter behind a page: runs its Python blocks one after the other, in one namespace.

A child process of `tests.docs.execution`. A command is a line of JSON on stdin, `{"code", "file", "line"}`;
the answer, on the pipe whose number is the argument, is the traceback as JSON text, or null. What the
block prints goes to stdout and stderr as it would anywhere.
"""

from __future__ import annotations

import ast
import json
import os
import sys
import traceback
import types
from pathlib import Path


def run(code: str, file: str, line: int, namespace: dict[str, object]) -> str | None:
    """Execute a block that starts at a line of a page. Returns the traceback, None where all went well."""
    try:
        tree = ast.increment_lineno(ast.parse(code, file), line - 1)
        exec(compile(tree, file, "exec", dont_inherit=True), namespace)
    except BaseException as error:
        # The first entry is this function.
        return "".join(
            traceback.format_exception(
                type(error), error, error.__traceback__ and error.__traceback__.tb_next
            )
        )
    return None


def main() -> None:
    answers = os.fdopen(int(sys.argv[1]), "w")
    commands = os.fdopen(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # As in a script: modules beside it can be imported, and classes find their module by name.
    sys.path.insert(0, str(Path.cwd()))
    page = types.ModuleType("__main__")
    sys.modules["__main__"] = page
    for command in commands:
        error = run(**json.loads(command), namespace=page.__dict__)
        sys.stdout.flush()
        sys.stderr.flush()
        answers.write(json.dumps(error) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
