"""The page of settings: names from their declaration, defaults and meanings from `.dlt/config.toml`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from docs.generate.markdown import code, grid
from sources.braze.settings import configured

CONFIG = Path(__file__).parents[2] / ".dlt" / "config.toml"
INTRODUCTION = """
# Settings

Generated from the code by `make docs`. Each setting comes from the environment or else from `.dlt/secrets.toml` or
`.dlt/config.toml` in the current folder, section `[sources.braze]`. Lists are JSON (`["a", "b"]`) or separated by
commas (`a,b`); `pii` is a JSON object. Secrets belong in the environment or in `.dlt/secrets.toml`, which git ignores.
"""
WAREHOUSE = """
## Warehouse

| setting | environment variable | default |
|---|---|---|
| DuckDB file | `DESTINATION__DUCKDB__CREDENTIALS` | `warehouse.duckdb` in the current folder |
| Postgres URL | `DESTINATION__POSTGRES__CREDENTIALS` | not set |
| DuckDB's limits | `DESTINATION__DUCKDB__CREDENTIALS__GLOBAL_CONFIG` | [256 MB](../explanation/size.md), four threads |
| dlt's working folder | `DLT_DATA_DIR` | `~/.dlt` |

Destination and schema are options of the commands: `--destination`, `--dataset`. Other destinations take their
credentials as dlt does, from `DESTINATION__<NAME>__CREDENTIALS` or the same section of `.dlt/secrets.toml`.
"""


class Listed(NamedTuple):
    """What the file says of a setting: its comment, and the value that is commented out."""

    meaning: str
    value: str

    @property
    def default(self) -> str:
        """The default as Markdown."""
        return "–" if "Not set by default" in self.meaning else code(self.value.strip('"'))


def page() -> str:
    """Every setting of the source with environment variable, default and meaning, then those of the warehouse."""
    listed = dict(_listed())
    rows = [
        (code(name), code(f"SOURCES__BRAZE__{name.upper()}"), listed[name].default, _escaped(listed[name].meaning))
        for name in inspect.signature(inspect.unwrap(configured)).parameters
    ]
    source = grid(("setting", "environment variable", "default", "meaning"), rows)
    return "\n".join([INTRODUCTION.strip(), "", "## Source", "", source, WAREHOUSE.strip(), ""])


def _listed() -> Iterator[tuple[str, Listed]]:
    """The settings in the file, those commented out (`#name = …`) included; a test holds their values to the code."""
    comment: list[str] = []
    for line in CONFIG.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"#?([a-z_]+) = (.+)$", line):
            yield match[1], Listed(" ".join(comment), match[2])
            comment = []
        else:
            comment = [*comment, line[2:]] if line.startswith("# ") else []


def _escaped(text: str) -> str:
    return re.sub(r"([*<\[])", r"\\\1", text)
