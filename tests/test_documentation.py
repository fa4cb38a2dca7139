"""The documentation as a site: it builds, its links hold, it needs no other host, and it says what the code does."""

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.generate import diagram, permissions
from docs.generate.pages import PAGES
from docs.generate.permissions import needed
from pipelines import cli
from pipelines.outcome import ExitCode
from sources.braze.endpoints import EVENTS_LIST
from sources.braze.tables import RESOURCES, TABLES
from sources.braze_sandbox import Sandbox, WorkspaceOptions
from tests.nights import SMALL, Nights
from tests.repository import REPOSITORY

DOCS = REPOSITORY / "docs"
WRITTEN = sorted(DOCS.rglob("*.md"))


def build(repository: Path, site: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(site)],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    built = build(REPOSITORY, folder)
    assert built.returncode == 0, built.stderr
    return folder


# The site


BROKEN = {
    "howto/nowhere.md": "howto/nowhere.md",
    "howto/connect.md#nowhere": "#nowhere",
    "reference/tables.md#no_such_table": "no_such_table",
    "/tutorial.md": "/tutorial.md",
}
"""Links that lead nowhere, and the word by which a warning names each."""


def test_broken_links_and_anchors_are_warnings_which_end_the_build(tmp_path: Path) -> None:
    shutil.copytree(DOCS, tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(REPOSITORY / ".dlt", tmp_path / ".dlt")
    shutil.copy(REPOSITORY / "mkdocs.yml", tmp_path)
    index = tmp_path / "docs" / "index.md"
    links = "\n".join(f"[x]({link})" for link in BROKEN)
    index.write_text(f"{index.read_text(encoding='utf-8')}\n{links}\n", encoding="utf-8")
    built = build(tmp_path, tmp_path / "site")
    assert built.returncode != 0
    warnings = [line for line in built.stderr.splitlines() if line.startswith("WARNING")]
    assert [word for word in BROKEN.values() if not any(word in line for line in warnings)] == []


class Loads(HTMLParser):
    """What a page fetches by itself: scripts, styles, pictures, frames; links that a reader follows are none."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag != "a":
            self.addresses += [value for name, value in attributes if name in ("src", "href") and value]


def test_no_page_fetches_anything_from_another_host(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text(encoding="utf-8"))
        assert loads.addresses
        for address in loads.addresses:
            assert "//" not in address, f"{page.name} fetches {address}"
            assert page.name == "404.html" or (page.parent / address.split("?")[0]).resolve().exists(), address
    styles = "".join(style.read_text(encoding="utf-8") for style in site.rglob("*.css"))
    assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", styles)


def test_the_page_of_diagrams_brings_what_draws_them_before_the_theme_looks_for_it(site: Path) -> None:
    page = (site / "reference" / "diagram.html").read_text(encoding="utf-8")
    assert page.index("mermaid.tiny.js") < page.index("assets/javascripts/bundle")
    assert page.count('class="mermaid"') == len(diagram.GROUPS)
    for other in {*site.rglob("*.html")} - {site / "reference" / "diagram.html"}:
        assert 'class="mermaid"' not in other.read_text(encoding="utf-8")


# The reference


@pytest.mark.parametrize("path", PAGES)
def test_the_generated_pages_are_those_of_the_code(path: str) -> None:
    assert (DOCS / path).read_text(encoding="utf-8") == PAGES[path](), "stale: run `make docs` and commit"


def text_of(site: Path, page: str) -> str:
    return re.sub(r"<[^>]+>", "", (site / page).read_text(encoding="utf-8"))


def test_the_reference_has_every_table_and_column(site: Path) -> None:
    page = (site / "reference" / "tables.html").read_text(encoding="utf-8")
    for table in TABLES.values():
        assert f'id="{table.name}"' in page
        section = page[page.index(f'id="{table.name}"') :].partition("<h2")[0]
        assert not {column.name for column in table.columns if f"<code>{column.name}</code>" not in section}


def test_every_table_is_in_a_diagram_with_its_key() -> None:
    page = diagram.page()
    for table in TABLES.values():
        entity = re.search(rf"^  {table.name} \{{\n(.*?)^  \}}$", page, re.MULTILINE | re.DOTALL)
        assert entity, table.name
        assert re.findall(r"^ +\S+ (\S+) PK$", entity[1], re.MULTILINE) == list(table.key)


def test_the_reference_has_every_command_and_option(site: Path) -> None:
    page = text_of(site, "reference/commands.html")
    for name, command in cli.cli.commands.items():
        assert f"braze-elt {name} [OPTIONS]" in page
        for option in command.params:
            assert all(spelling in page for spelling in option.opts)


def test_the_exit_codes_are_those_of_the_commands() -> None:
    page = (DOCS / "reference" / "exit-codes.md").read_text(encoding="utf-8")
    told = {int(code) for code in re.findall(r"^\| (\d) \|", page, re.MULTILINE)}
    assert told == set(ExitCode)


@pytest.fixture(scope="module")
def sandbox() -> Sandbox:
    with Sandbox(WorkspaceOptions(**SMALL)) as running:
        yield running


@pytest.mark.parametrize("resource", [name for name in RESOURCES if name != "users"])
def test_a_sync_of_a_resource_asks_the_endpoints_whose_permissions_are_told(sandbox: Sandbox, resource: str) -> None:
    campaign, send = next(iter(sandbox.workspace.sends))
    nights = Nights(sandbox, sends=[f"{campaign}:{send}"])
    night = nights.run(sandbox.workspace.now(), resource)
    told = {endpoint.path for endpoint in needed(resource)}
    if resource == "canvas_summary":
        told.add("canvas/data_series")  # asked once, as the note says
    assert {request.path.strip("/") for request in night.requests} == told


def test_the_permissions_to_grant_for_all_analytics_are_those_that_a_sync_needs() -> None:
    page = (DOCS / "howto" / "connect.md").read_text(encoding="utf-8")
    listed = page.partition("For all analytics")[2].partition("The permissions that begin")[0]
    analytics = [name for name in RESOURCES if name not in ("users", "sends", "canvas_summary")]
    wanted = {endpoint.permission for name in analytics for endpoint in needed(name)} | {EVENTS_LIST.permission}
    assert set(re.findall(r"`([a-z_.]+)`", listed)) == wanted


def test_every_resource_has_its_permissions() -> None:
    assert all(needed(resource) for resource in RESOURCES)
    assert set(permissions.NOTES) < set(RESOURCES)


# The written pages


COMMAND = re.compile(r"braze-elt ([a-z-]+)([^`\n|&>;]*)")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_commands_and_options_that_pages_name_exist(page: Path) -> None:
    for name, rest in COMMAND.findall(page.read_text(encoding="utf-8")):
        known = {spelling for option in cli.cli.commands[name].params for spelling in option.opts}
        assert {word for word in rest.split() if word.startswith("--")} <= known, f"{page.name}: braze-elt {name}{rest}"


def test_pages_name_commands_with_options() -> None:
    """Else the test above would look for what is not there."""
    written = "".join(page.read_text(encoding="utf-8") for page in WRITTEN)
    assert {name for name, rest in COMMAND.findall(written) if "--" in rest} >= {"backfill", "export-users", "sync"}


def test_every_setting_that_pages_set_exists(site: Path) -> None:
    known = set(re.findall(r"SOURCES__BRAZE__[A-Z_]+", text_of(site, "reference/settings.html")))
    pages = {
        page: set(re.findall(r"SOURCES__BRAZE__[A-Z_]+[A-Z]", page.read_text(encoding="utf-8"))) for page in WRITTEN
    }
    assert any(pages.values())
    for page, named in pages.items():
        assert named <= known, page.name


@pytest.mark.parametrize("page", [REPOSITORY / "README.md", *WRITTEN], ids=lambda page: page.name)
def test_links_between_files_of_the_repository_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
