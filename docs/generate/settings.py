"""The page of settings: names and defaults from their declaration, meanings from `.dlt/config.toml`."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docs.generate.markdown import code, grid
from sources.braze import settings as declared

CONFIG = Path(__file__).parents[2] / ".dlt" / "config.toml"
INTRODUCTION = """
# Settings

Generated from the code. Each comes from the environment or else from `.dlt/secrets.toml` or `.dlt/config.toml` in the
current folder, section `[sources.braze]`. Lists are JSON (`["a", "b"]`) or separated by commas (`a,b`); `pii` is a JSON
object. Secrets belong into the environment or into `.dlt/secrets.toml`, which git ignores.
"""
WAREHOUSE = """
## Warehouse

| setting | environment variable | default |
|---|---|---|
| DuckDB file | `DESTINATION__DUCKDB__CREDENTIALS` | `warehouse.duckdb` in the current folder |
| Postgres URL | `DESTINATION__POSTGRES__CREDENTIALS` | not set |
| dlt's working folder | `DLT_DATA_DIR` | `~/.dlt` |

Destination and schema are options of the commands: `--destination`, `--dataset`. Other destinations take their
credentials as dlt does, from `DESTINATION__<NAME>__CREDENTIALS` or the same section of `.dlt/secrets.toml`.
"""


def page() -> str:
    """Every setting of the source with environment variable, default and meaning, then those of the warehouse."""
    meanings = dict(_meanings())
    rows = [
        (code(name), code(f"SOURCES__BRAZE__{name.upper()}"), _default(default), meanings[name])
        for name, default in _declared().items()
    ]
    source = grid(("setting", "environment variable", "default", "meaning"), rows)
    return "\n".join([INTRODUCTION.strip(), "", "## Source", "", source, WAREHOUSE.strip(), ""])


def _declared() -> dict[str, Any]:
    parameters = inspect.signature(inspect.unwrap(declared._resolve)).parameters
    return {name: parameter.default for name, parameter in parameters.items()}


def _default(value: Any) -> str:
    if value is None:
        return "–"
    return code(str(value).lower() if isinstance(value, bool) else str(value))


def _meanings() -> Iterator[tuple[str, str]]:
    """Names and comments of the settings in the file, those commented out (`#name = …`) included."""
    comment: list[str] = []
    for line in CONFIG.read_text(encoding="utf-8").splitlines():
        if match := re.match(r"#?([a-z_]+) = ", line):
            yield match[1], _escaped(" ".join(comment))
            comment = []
        else:
            comment = [*comment, line[2:]] if line.startswith("# ") else []


def _escaped(text: str) -> str:
    return re.sub(r"([*<\[])", r"\\\1", text)
