"""What the warehouse is known to have, as runs remember it in dlt's state. Data, and no more."""

from collections import defaultdict
from dataclasses import dataclass, field
from uuid import uuid4

from sources.braze.model import Type


@dataclass(frozen=True)
class LoadedExport:
    """What a warehouse has of an audience's export: the `export_jobs.ExportJob.id`, and how many groups at least."""

    job: str
    groups: int


@dataclass
class LoadedExports:
    """What a warehouse has of exports, by audience; `warehouse` tells it from others, and from what it was once."""

    warehouse: str = field(default_factory=lambda: uuid4().hex)
    latest: dict[str, LoadedExport] = field(default_factory=dict)


@dataclass
class Known:
    """What the warehouse is known to have.

    `types` of discovered columns by table, the tables that are `filled`, the catalogs and their series that are
    `detailed` (loaded when more was known of the entities than the list tells), and what there is of `exports`.
    """

    types: dict[str, dict[str, Type]] = field(default_factory=lambda: defaultdict(dict))
    filled: set[str] = field(default_factory=set)
    detailed: set[str] = field(default_factory=set)
    exports: LoadedExports = field(default_factory=LoadedExports)
