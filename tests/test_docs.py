"""What is written down about the code says what the code does: settings, tables, modules, and which way imports run."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from destinations.settings import LOADER_DEFAULTS
from sources.braze import settings
from sources.braze.model import Table
from sources.braze.tables import RESOURCES, TABLES
from tests.repository import REPOSITORY, SECRET

CONFIG = (REPOSITORY / ".dlt" / "config.toml").read_text()
SECRETS = (REPOSITORY / ".dlt" / "example.secrets.toml").read_text()


def defaults() -> dict[str, Any]:
    """Every setting of the source with its default."""
    signature = inspect.signature(inspect.unwrap(settings.configured))
    return {name: parameter.default for name, parameter in signature.parameters.items()}


def listed(section: str) -> dict[str, tuple[str, Any]]:
    """Comment and value of every setting of a section of config.toml, those commented out (`#name = …`) included."""
    found: dict[str, tuple[str, Any]] = {}
    comment: list[str] = []
    inside = False
    for line in CONFIG.splitlines():
        if line.startswith("["):
            inside = line == f"[{section}]"
        elif match := re.match(r"#?([a-z_]+) = (.+)$", line):
            if inside:
                found[match[1]] = (" ".join(comment), tomllib.loads(f"x = {match[2]}")["x"])
            comment = []
        elif line.startswith("# "):
            comment.append(line[2:])
        else:
            comment = []
    return found


# Settings


def test_config_toml_lists_every_setting_and_no_other() -> None:
    assert set(listed("sources.braze")) == set(defaults())


@pytest.mark.parametrize("name", defaults())
def test_config_toml_explains_the_setting_and_shows_its_default(name: str) -> None:
    comment, value = listed("sources.braze")[name]
    assert len(comment) > 20
    assert comment.endswith((".", "toml."))
    if "Not set by default" in comment:
        assert defaults()[name] is None
    else:
        given = {"api_key": "key", "endpoint": "US-01"}
        assert settings.resolve(**given, **{name: value}) == settings.resolve(**given)


def test_config_toml_is_what_dlt_reads_and_leaves_every_setting_at_its_default() -> None:
    parsed = tomllib.loads(CONFIG)
    assert parsed["sources"]["braze"] == {}
    assert {name: parsed[name] for name in LOADER_DEFAULTS} == LOADER_DEFAULTS


def test_secrets_are_shown_where_they_belong() -> None:
    assert {name for name in SECRET if re.search(rf"^#?{name} = ", SECRETS, re.MULTILINE)} == SECRET
    for name in SECRET:
        assert "example.secrets.toml" in listed("sources.braze")[name][0]
    ignored = (REPOSITORY / ".gitignore").read_text().splitlines()
    assert ".dlt/secrets.toml" in ignored


# Tables


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_every_table_and_column_is_described_and_every_key_is_a_column(table: Table) -> None:
    descriptions = (table.description, *(column.description for column in table.columns))
    assert not [text for text in descriptions if len(text) <= 3 or not text.endswith(".")]
    names = [column.name for column in table.columns]
    assert len(names) == len(set(names))
    assert set(table.key) <= set(names)
    assert set(table.parent or ()) < set(table.key) or table.parent is None
    assert all(re.fullmatch(r"[a-z_][a-z0-9_]*", name) for name in (table.name, *names))


def test_the_resources_are_those_of_the_tables() -> None:
    assert set(RESOURCES) == {table.resource for table in TABLES.values()} - {"sync_runs", "sync_failures"}


# Imports

PACKAGES = ("pipelines", "sources", "destinations")
PURE = (
    *("endpoints", "model", "columns", "profile_tables", "tables", "relations", "audience", "windows"),
    *("fields", "rows", "flatten", "joining", "arrow", "comparison", "catalog", "series", "profile_sql"),
    *(
        "errors",
        "export_fields",
        "pii",
        "cursors",
        "failures",
        "planning",
        "beginnings",
        "standstill",
        "known",
        "packing",
        "parcels",
    ),
)


def modules() -> Iterator[Path]:
    for package in PACKAGES:
        yield from (REPOSITORY / package).rglob("*.py")


def imports(module: Path) -> set[str]:
    """The absolute names of everything a module imports, wherever in it, except for type checking only."""
    tree = ast.parse(module.read_text())
    names: set[str] = set()
    checking = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in checking:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} imports relatively"
            names.add(node.module or "")
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return names


def forbidden(folder: str, *prefixes: str) -> list[str]:
    return [
        f"{module.relative_to(REPOSITORY)} imports {name}"
        for module in modules()
        if module.is_relative_to(REPOSITORY / folder)
        for name in sorted(imports(module))
        if any(name == prefix or name.startswith(f"{prefix}.") for prefix in prefixes)
    ]


@pytest.mark.parametrize(
    ("folder", "others"),
    [
        ("sources", ("pipelines", "destinations", "tests")),
        ("destinations", ("pipelines", "sources", "tests")),
        ("pipelines", ("tests",)),
        ("sources/braze", ("sources.braze_sandbox",)),
        ("sources/braze_sandbox", ("sources.braze", "dlt")),
    ],
)
def test_imports_run_one_way(folder: str, others: tuple[str, ...]) -> None:
    assert forbidden(folder, *others) == []


@pytest.mark.parametrize("module", PURE)
def test_pure_modules_import_neither_http_nor_dlt_nor_disk_and_no_module_that_does(module: str) -> None:
    impure = {
        *("requests", "urllib3", "aiohttp", "http", "dlt", "asyncio", "duckdb", "sqlalchemy"),
        *("os", "pathlib", "shutil", "io", "fsspec", "threading", "concurrent", "time", "random", "logging"),
    }
    names = imports(REPOSITORY / "sources" / "braze" / f"{module}.py")
    assert not [name for name in names if name.split(".")[0] in impure]
    assert not [name for name in names if name.split(".")[0] in PACKAGES and not is_of_pure_module(name)]


def is_of_pure_module(name: str) -> bool:
    """Whether `name` is that of a pure module, of something in it, or of the package that all of them are in."""
    pure = {f"sources.braze.{module}" for module in PURE}
    return name in {"sources.braze", *pure} or name.rpartition(".")[0] in pure


@pytest.mark.parametrize("module", ["client", "exchange"])
def test_the_client_knows_no_tables(module: str) -> None:
    assert not [
        name
        for name in imports(REPOSITORY / "sources" / "braze" / f"{module}.py")
        if re.search(r"\.(model|tables|columns|profile_tables|arrow|rows|flatten|resources)(\.|$)", name)
    ]


def test_the_page_on_the_code_has_every_module_and_no_other() -> None:
    page = (REPOSITORY / "docs" / "explanation" / "code.md").read_text(encoding="utf-8")
    packages = ("sources/braze", "destinations", "pipelines")
    files = {file.relative_to(REPOSITORY) for package in packages for file in (REPOSITORY / package).rglob("*.py")}
    told = set(re.findall(rf"`((?:{'|'.join(packages)})/[^`]+\.py)`", page))
    assert told == {file.as_posix() for file in files}


def test_help_needs_no_heavy_import() -> None:
    script = (
        "import sys; import pipelines.cli; print(sorted({'dlt', 'duckdb', 'pyarrow', 'requests'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
