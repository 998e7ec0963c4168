"""What the code imports is what pyproject.toml declares, in the extra that brings it."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import appliance

ROOT = Path(appliance.__file__).resolve().parent
PROJECT = tomllib.loads((ROOT.parent / "pyproject.toml").read_text())["project"]
# Only these need the extra `pipelines`.
PIPELINES = (ROOT / "pipelines", ROOT / "infra" / "datasets")


def imported(path: Path) -> Iterator[str]:
    """The top names of what is not of the standard library or ours."""
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [node.module or ""]
        tops = {name.partition(".")[0] for name in names}
        yield from tops - sys.stdlib_module_names - {"appliance"}


def names(requirements: list[str]) -> set[str]:
    """Of the projects, normalised."""
    return {project(re.split(r"[^\w.-]", each, maxsplit=1)[0]) for each in requirements}


def project(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_import_is_declared_where_it_is_needed() -> None:
    extras = PROJECT["optional-dependencies"]
    always = names(PROJECT["dependencies"])
    projects = packages_distributions()
    missing = set()
    for path in ROOT.rglob("*.py"):
        extra = "pipelines" if any(path.is_relative_to(each) for each in PIPELINES) else "embedded"
        declared = always | names(extras[extra])
        for top in imported(path):
            if declared.isdisjoint(map(project, projects.get(top, [top]))):
                missing.add(f"{path.relative_to(ROOT)}: {top} ({extra})")
    assert missing == set()
