"""The page of tables: what `braze-elt schema` prints, under an index by resource."""

from docs.generate.markdown import code, grid
from pipelines.schema import render
from sources.braze.tables import LEDGER_TABLES, RESOURCES, tables_of

INTRODUCTION = """
# Tables

Generated from the one declaration that also makes the types, the merge keys and the comments in the warehouse;
`braze-elt schema` prints it (`--format markdown`, `dbml`, `mermaid` or `json`). How they belong together is in the
[diagram](diagram.md).

- Every table has `_dlt_load_id` as well: which load wrote the row (`_dlt_loads.load_id`).
- No key column is ever null or empty. `*` in `app_id`, `segment_id` or `product` means all of them together: the
  workspace's own total, which is not the sum.
- Dates are days of the workspace's time zone (setting `time_zone`), instants are TIMESTAMPTZ, money is in US dollars.
- A counter or field that Braze adds later arrives as a column of its own. A value that its column cannot hold goes to a
  variant column such as `sent__v_text`.
- `position` counts from 0, in Braze's order.
"""


def page() -> str:
    """The index by resource, then every table with its columns."""
    loaded = [(code(resource), [table.name for table in tables_of(resource)]) for resource in RESOURCES]
    loaded.append(("every run", [table.name for table in LEDGER_TABLES]))
    rows = [(resource, ", ".join(f"[{name}](#{name})" for name in names)) for resource, names in loaded]
    return "\n".join([INTRODUCTION.strip(), "", grid(("resource", "tables"), rows), render("markdown")])
