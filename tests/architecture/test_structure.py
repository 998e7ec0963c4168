"""The structure the design promises: layers, size limits, the tour, and a domain of its own."""

import ast
import importlib
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import appliance
from appliance.cli import COMMANDS
from appliance.entrypoints import ROLES

ROOT = Path(appliance.__file__).resolve().parent
MODULES = sorted(ROOT.rglob("*.py"))
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 60
FORBIDDEN_NAMES = {"utils.py", "helpers.py", "misc.py"}


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_every_path_of_the_tour_exists() -> None:
    paths = re.findall(r"`([\w/]+\.py)`", appliance.__doc__ or "")
    assert len(paths) >= 15
    assert [path for path in paths if not (ROOT / path).is_file()] == []


def test_the_layer_contracts_hold() -> None:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    done = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_the_domain_imports_the_standard_library_alone() -> None:
    strangers = set()
    for path in (ROOT / "domain").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                ours = name.startswith("appliance.domain")
                if not ours and top not in sys.stdlib_module_names:
                    strangers.add((path.name, name))
    assert strangers == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_stays_within_the_limits(path: Path) -> None:
    source = path.read_text()
    tree = ast.parse(source)
    assert path.name not in FORBIDDEN_NAMES
    assert source.count("\n") <= MAX_MODULE_LINES
    long = [f.name for f in functions(tree) if (f.end_lineno or 0) - f.lineno >= MAX_FUNCTION_LINES]
    assert long == []
    assert not source.strip() or ast.get_docstring(tree), "a module says what it is"


def test_no_import_inside_a_function_and_no_global() -> None:
    found = []
    for path in MODULES:
        for function in functions(ast.parse(path.read_text())):
            for node in ast.walk(function):
                if isinstance(node, ast.Import | ast.ImportFrom | ast.Global):
                    found.append((str(path.relative_to(ROOT)), function.name))
    assert found == []


@pytest.mark.parametrize("target", sorted(ROLES.values()))
def test_every_role_of_the_table_is_there(target: str) -> None:
    module, _, name = target.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


@pytest.mark.parametrize("module", sorted(COMMANDS.values()))
def test_every_command_of_the_table_is_there(module: str) -> None:
    command = importlib.import_module(module)
    assert command.HELP
    assert callable(command.run)
    assert callable(command.add_arguments)
