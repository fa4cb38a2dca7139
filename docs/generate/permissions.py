"""The page of permissions: what a key needs per resource, from the declarations of endpoints, catalogs and series."""

from docs.generate.markdown import code, grid
from sources.braze import endpoints
from sources.braze.access import asked_by
from sources.braze.endpoints import HOUR, Endpoint, Pool
from sources.braze.series import DAILY
from sources.braze.tables import RESOURCES

LISTED_BY = {spec.resource: spec.of for spec in DAILY if spec.of} | {"event_series": "events"}
"""Series that are asked for what another resource lists."""
_OLDER_KEYS = f"keys without `{endpoints.EVENTS.permission}` can have `{endpoints.EVENTS_LIST.permission}` instead"
_NEWER_WORKSPACES = "absent from newer workspaces, which is no failure"
NOTES = {
    "cards": _NEWER_WORKSPACES,
    "card_series": _NEWER_WORKSPACES,
    "canvas_summary": f"only with `--select`; `{endpoints.CANVAS_DATA_SERIES.permission}` is asked once if granted",
    "event_series": _OLDER_KEYS,
    "events": _OLDER_KEYS,
    "sends": "only with the settings `sends` or `sends_query`",
    "users": "each for its way of asking: `--segment`, `--external-ids`, `--global-control-group`;"
    f" `--cancel` needs `{endpoints.EXPORT_SEGMENT_CANCEL.permission}`",
}
INTRODUCTION = """
# Permissions

Generated from the code by `make docs`. A key needs these permissions for the resources that you load, and no others. A
missing one costs its resource and nothing else: `braze-elt check` says so beforehand, `sync_failures` afterwards.
"""


def needed(resource: str) -> tuple[Endpoint, ...]:
    """The endpoints that a sync of `resource` asks, without the one that is asked instead of another."""
    listed = asked_by(LISTED_BY[resource]) if resource in LISTED_BY else ()
    asked = dict.fromkeys((*listed, *asked_by(resource)))
    return tuple(endpoint for endpoint in asked if endpoint is not endpoints.EVENTS_LIST)


def page() -> str:
    """Permissions by resource, then endpoints with their limits."""
    resources = [
        (code(name), ", ".join(code(endpoint.permission) for endpoint in needed(name)), NOTES.get(name, ""))
        for name in RESOURCES
    ]
    declared = [value for value in vars(endpoints).values() if isinstance(value, Endpoint)]
    rows = [
        (code(f"{endpoint.method} {endpoint.path}"), code(endpoint.permission), _limit(endpoint.pool), _cap(endpoint))
        for endpoint in declared
    ]
    return "\n\n".join(
        [
            INTRODUCTION.strip(),
            "## By resource",
            grid(("resource", "permissions", "note"), resources),
            "## By endpoint",
            "Endpoints that share a limit share one pool. A request asks for so many days at most.",
            grid(("endpoint", "permission", "rate limit", "days"), rows),
        ]
    )


def _limit(pool: Pool) -> str:
    period = "hour" if pool.period == HOUR else "minute"
    return f"{pool.limit:,} an {period} ({pool.name})".replace("an minute", "a minute")


def _cap(endpoint: Endpoint) -> str:
    return str(endpoint.cap or "")
