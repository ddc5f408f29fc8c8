"""Imports go downward only, and `import edgecv` stays light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import pytest

import edgecv

PACKAGE = Path(edgecv.__file__).parent

# A module imports only from lower levels, never from another package or module at its own. Whole
# numbers are the levels of the design; a fraction orders what it puts on one level.
LEVELS = {
    "errors": 0.0,
    "version": 0.0,
    "extras": 0.1,
    "sealed": 0.05,
    "registry": 0.05,
    "private": 0.05,
    "masks": 0.05,
    "formats": 0.05,
    "arguments": 0.05,
    "cardnames": 0.1,
    "settings": 0.1,
    "types": 0.1,
    "options": 0.1,
    "exclusive": 0.1,
    "clock": 0.2,
    "inputs": 0.2,
    "_isa": 0.2,
    "machine": 0.3,
    "child": 0.4,
    "_image": 0.3,
    "_boxes": 0.3,
    "_rois": 0.3,
    "_simd": 0.3,
    "container": 0.3,
    "planfile": 0.4,
    "build": 0.1,
    "hashes": 0.3,
    "frame": 0.9,
    "image": 1.0,
    "boxes": 1.0,
    "rois": 1.0,
    "media": 1.0,
    "image_reference": 1.1,
    "scenes": 2,
    "heads": 2,
    "graph": 2,
    "engine": 3,
    "card": 3,
    "card_inputs": 2.5,
    "importers": 4,
    "zoo": 4,
    "backends": 5,
    "lookup": 5.5,
    "pipelines": 6,
    "loop": 6.5,
    "kept": 6.5,
    "api": 7,
    "report": 7,
    "evaluate": 8,
    "bench": 8,
    "verify": 8,
    "convert": 8,
    "drafts": 8,
    "describe": 8,
    "schemas": 8.5,
    "explain": 7.5,
    "demo": 9,
    "cli": 10,
    "__init__": 11,
    "__main__": 11,
}


def room(path: Path) -> str:
    """The package or module directly under edgecv that a file belongs to."""
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py").removesuffix(".pyi")


def internal_imports() -> Iterator[tuple[Path, str]]:
    """(file, room that it imports from), imports for type checking and inside functions included."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                base = node.module or ""
                names = [f"edgecv.{a.name}" for a in node.names] if base == "edgecv" else [base]
            else:
                continue
            for name in names:
                parts = name.split(".")
                if parts[0] == "edgecv" and len(parts) > 1 and not parts[1].startswith("__version"):
                    yield path, parts[1]


def test_every_room_has_a_level() -> None:
    rooms = {room(path) for path in PACKAGE.rglob("*.py")}
    assert rooms <= set(LEVELS), f"no level for {rooms - set(LEVELS)}"


def test_imports_go_downward() -> None:
    found = list(internal_imports())
    assert len(found) > 50
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {target}"
        for path, target in found
        if target != room(path) and LEVELS[target] >= LEVELS[room(path)]
    ]
    assert not wrong


def module_name(path: Path) -> str:
    """edgecv/a/b.py and edgecv/a/b/__init__.py: "edgecv.a.b"."""
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def run_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a module that a run can reach: what stands under TYPE_CHECKING only a type checker reads."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from run_nodes(node)


def imports_of(path: Path, modules: Collection[str]) -> set[str]:
    """Modules that one imports when it runs, inside functions too; a package means its __init__."""
    found: set[str] = set()
    for node in run_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            inner = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found.update(name for name in inner.values() if name in modules)
            if any(name not in modules for name in inner.values()):
                found.add(node.module)
    return found & set(modules) - {module_name(path)}


def rings(imports: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Modules that lead back to themselves, sorted, those of a ring together."""
    reached = {name: set(targets) for name, targets in imports.items()}
    for between in imports:
        for targets in reached.values():
            if between in targets:
                targets |= reached[between]
    groups = {tuple(sorted(m for m in reached[name] if name in reached[m])) for name in imports}
    return sorted(list(group) for group in groups if group)


def test_a_ring_is_found() -> None:
    assert rings({"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a"], "e": ["f"], "f": ["e"]}) == [
        ["a", "b", "c"],
        ["e", "f"],
    ]
    assert rings({"a": ["b", "c"], "b": ["c"], "c": []}) == []


def test_no_modules_import_each_other() -> None:
    paths = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    imports = {name: imports_of(path, paths) for name, path in paths.items()}
    assert "edgecv.engine.lower.base" in imports["edgecv.engine.lower.data"]
    assert not rings(imports)


@pytest.mark.parametrize("heavy", ["cv2", "onnx", "onnx_ir", "onnxruntime", "hotcoco", "rich", "click"])
def test_import_is_light(heavy: str) -> None:
    code = f"import edgecv, sys; sys.exit({heavy!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_public_names_resolve() -> None:
    for name in edgecv.__all__:
        assert getattr(edgecv, name) is not None
    with pytest.raises(AttributeError, match="nothing_like_it"):
        edgecv.nothing_like_it  # noqa: B018
