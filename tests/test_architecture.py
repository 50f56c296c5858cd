"""Folders are layers: an import only points down, and modules stay small."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "webbmosaic"
MODULES = sorted(SOURCE.rglob("*.py"))
VOCABULARY = {
    "datasets", "errors", "settings", "settings_field", "settings_file",
    "settings_used",
}  # fmt: skip
MAY_IMPORT = {
    "vocabulary": {"vocabulary"},
    "science": {"errors", "science"},
    "files": {"vocabulary", "files"},
    "archives": {"vocabulary", "files", "archives"},
    "stages": {"vocabulary", "science", "files", "archives", "stages"},
    "run": {"vocabulary", "files", "run"},
    "report": {"vocabulary", "science", "files", "report"},
    "simulate": {"vocabulary", "files", "simulate"},
    "compat": {"cli"},
}
HEAVY = {
    "jwst", "stdatamodels", "stcal", "crds", "astroquery", "matplotlib", "dask",
    "photutils", "pysiaf",
}  # fmt: skip


def room_of(path: Path) -> str:
    """Name the room that a module is in."""
    relative = path.relative_to(SOURCE)
    name = relative.parts[0].removesuffix(".py")
    return "vocabulary" if name in VOCABULARY else name


def imported(path: Path) -> list[tuple[str, bool]]:
    """List what a module imports, and whether at its top level."""
    tree = ast.parse(path.read_text())
    checked = {id(n) for i in tree.body if is_type_checking(i) for n in ast.walk(i)}
    found = []
    for node in ast.walk(tree):
        if id(node) in checked:
            continue
        top = node in tree.body
        if isinstance(node, ast.Import):
            found += [(alias.name, top) for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(f"{node.module}.{alias.name}", top) for alias in node.names]
    return found


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_point_down(path):
    room = room_of(path)
    if room not in MAY_IMPORT:  # cli and __init__ may import everything
        return
    allowed = MAY_IMPORT[room] | (
        VOCABULARY if "vocabulary" in MAY_IMPORT[room] else set()
    )
    for name, _ in imported(path):
        package, _, rest = name.partition(".")
        target = rest.split(".")[0]
        if package == "webbmosaic" and target not in ("", "__version__"):
            assert target in allowed, f"{path.name} imports {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_heavy_packages_are_imported_where_they_are_used(path):
    if path.name == "warm.py":  # whose purpose is to import them
        return
    for name, top in imported(path):
        assert not (top and name.split(".")[0] in HEAVY), f"{path.name}: {name}"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_modules_and_functions_are_small(path):
    text = path.read_text()
    assert text.count("\n") <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            body = node.body[1:] if ast.get_docstring(node) else node.body
            size = body[-1].end_lineno - body[0].lineno + 1 if body else 0
            assert size <= 60, f"{path.name}: {node.name} has {size} lines"


def test_everything_is_caught_in_one_place_only():
    catching = {
        path.relative_to(SOURCE).as_posix()
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
        and (
            node.type is None
            or ast.unparse(node.type) in ("Exception", "BaseException")
        )
    }
    # capture logs and re-raises; threads hands on to the thread that waits
    assert catching <= {"run/tasks.py", "run/capture.py", "archives/threads.py"}


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from webbmosaic.cli.root import webbmosaic as root; "
        "root.main(['--help'], standalone_mode=False); "
        f"print(sorted({HEAVY | {'numpy', 'astropy', 'scipy'}!r} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert said.splitlines()[-1] == "[]"
