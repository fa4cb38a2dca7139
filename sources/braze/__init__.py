"""The Braze REST export API as a dlt source.

    import dlt
    from sources.braze import braze

    dlt.pipeline("braze", destination="postgres", dataset_name="braze").run(braze())

Settings come from dlt's configuration (section `sources.braze`) or as arguments; see `settings.resolve`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dlt
from dlt.extract import DltResource

from sources.braze.tables import RESOURCES

if TYPE_CHECKING:
    from sources.braze.client import Client
    from sources.braze.settings import Settings

SOURCE = "braze"
"""The name of the dlt source, of its schema and of its state."""
NIGHTLY = tuple(name for name in RESOURCES if name != "canvas_summary")
"""The resources that a sync loads unless the settings leave them out; totals of Canvases are for who selects them."""


def open_client(settings: "Settings") -> "Client":
    """The HTTP client for `settings`."""
    from sources.braze.client import Client  # commands that ask Braze nothing do without HTTP

    return Client(
        settings.base_url,
        settings.api_key,
        concurrency=settings.concurrency,
        rate_reserve=settings.rate_reserve,
    )


@dlt.source(name=SOURCE, section="braze")
def braze(now: datetime | None = None, **settings: Any) -> Iterator[DltResource]:
    """What a Braze workspace exports as dlt resources, one per name in `tables.RESOURCES`.

    `settings` override dlt's configuration. `now` (time-zone aware) is the clock of the run. One load takes
    everything since the cursors; `braze().with_resources("campaigns", "campaign_series")` takes a part.
    Raises `ConfigurationError` for settings that are missing or wrong.
    """
    from sources.braze.chunks import Chunk
    from sources.braze.extraction import Extraction
    from sources.braze.resources import resources
    from sources.braze.settings import resolve

    resolved = resolve(**settings)
    extraction = Extraction(resolved, open_client(resolved), now or datetime.now(tz=UTC))
    yield from default_selection(resolved, resources(extraction, Chunk()))


def default_selection(settings: "Settings", all_resources: list[DltResource]) -> Iterator[DltResource]:
    """All resources, those selected that a plain sync loads: no summaries, sends and users only once configured."""
    for resource in all_resources:
        resource.selected = resource.name in default_names(settings) or resource.name == "sync_failures"
        yield resource


def default_names(settings: "Settings") -> tuple[str, ...]:
    """The resources that `sync` loads without `--select`."""
    configured = {
        "sends": bool(settings.sends or settings.sends_query),
        "users": bool(settings.segments),
    }
    return tuple(name for name in NIGHTLY if configured.get(name, True))
