"""Braze in Dagster: an asset per resource, all that are selected loaded in one run.

    from pipelines.dagster_assets import definitions

The assets are called `braze/campaigns`, `braze/campaign_series`, and so on. They share one run, because a warehouse
takes one at a time and the lists that several of them need are then asked for once. Settings come from the
environment, as for `braze-elt sync`; destination and dataset are the op's configuration. A resource that the settings
leave out (`sends`, `users`) is not materialized. Failures that a resource recorded in `sync_failures` are in its
metadata; a run that loads nothing fails.
"""

from collections.abc import Iterator

import dagster

from destinations import DestinationError
from pipelines.errors import RunFailed
from pipelines.freshness import Loaded, load
from sources.braze import NIGHTLY, default_names
from sources.braze.errors import BrazeError
from sources.braze.settings import resolve
from sources.braze.tables import tables_of

PREFIX = "braze"


class Warehouse(dagster.Config):
    """Where to load: a dlt destination by name and the schema in it."""

    destination: str = "duckdb"
    dataset: str = "braze"


def _key(resource: str) -> dagster.AssetKey:
    return dagster.AssetKey([PREFIX, resource])


def _spec(resource: str) -> dagster.AssetSpec:
    tables = tables_of(resource)
    described = "\n".join(f"- `{table.name}`: {table.description}" for table in tables)
    return dagster.AssetSpec(_key(resource), description=described, group_name=PREFIX, skippable=True)


@dagster.multi_asset(name="braze", specs=[_spec(name) for name in NIGHTLY], can_subset=True)
def braze_assets(
    context: dagster.AssetExecutionContext, config: Warehouse
) -> Iterator[dagster.MaterializeResult[None]]:
    """Load the selected resources and report what the warehouse holds of each."""
    wanted = {key.path[-1] for key in context.selected_asset_keys}
    names = [name for name in default_names(resolve()) if name in wanted]
    if not names:
        return
    try:
        found = load(names, config.destination, config.dataset)
    except (RunFailed, BrazeError, DestinationError) as error:
        raise dagster.Failure(str(error)) from error
    for name, held in found.items():
        if held.failures:
            context.log.warning(f"{name}: {held.failures} failures are open in sync_failures.")
        yield dagster.MaterializeResult(asset_key=_key(name), metadata=_metadata(held))


def _metadata(held: Loaded) -> dict[str, dagster.MetadataValue]:
    shown: dict[str, dagster.MetadataValue] = {
        "dagster/row_count": dagster.MetadataValue.int(sum(held.rows.values())),
        "rows": dagster.MetadataValue.json(held.rows),
        "open_failures": dagster.MetadataValue.int(held.failures),
    }
    if held.newest:
        shown["newest_day"] = dagster.MetadataValue.text(held.newest.isoformat())
    return shown


nightly = dagster.ScheduleDefinition(
    name="braze_nightly", target=dagster.AssetSelection.groups(PREFIX), cron_schedule="15 3 * * *"
)

definitions = dagster.Definitions(assets=[braze_assets], schedules=[nightly])
