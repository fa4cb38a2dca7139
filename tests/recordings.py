"""What is asked of a live workspace to record its answers: one question per endpoint and unit, as data."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from sources.braze import endpoints
from sources.braze.catalog import CATALOGS
from sources.braze.endpoints import Endpoint
from sources.braze.series import Part, SeriesSpec
from sources.braze.windows import ONE_DAY, Span, Unit, local_day, request_parameters
from tests import wire

DAYS = 2
"""Days of a series, beside the day by which requests overlap."""
BREAKS_DOWN = frozenset(["app_id", "segment_id", "product"])
"""Parameters that break a workspace-wide series down; it is recorded as a whole."""
_PROFILE_FIELDS = [
    "apps", "braze_id", "campaigns_received", "canvases_received", "created_at", "custom_attributes", "custom_events",
    "devices", "email_subscribe", "external_id", "purchases", "push_subscribe", "push_tokens", "user_aliases",
]  # fmt: skip


@dataclass(frozen=True)
class Recording:
    """A question, recorded as `name`. `naming` are the parameters that name an entity: the first one is taken."""

    name: str
    endpoint: Endpoint
    naming: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def is_harmless(self) -> bool:
        """Whether asking changes nothing: exports are neither started nor cancelled."""
        return not self.endpoint.starts_job and self.endpoint is not endpoints.EXPORT_SEGMENT_CANCEL


def recordings(zone: ZoneInfo) -> list[Recording]:
    """Every question there is; series are asked for the latest days in the workspace's zone."""
    return [*_lists(), *_details(), *(_series(spec, part, zone) for spec, part in wire.SERIES.values()), *_others()]


def _lists() -> list[Recording]:
    named = (endpoints.EVENTS_LIST, endpoints.PURCHASES_PRODUCT_LIST)
    return [
        *(_of(catalog.listing, fields={"page": 0, **catalog.list_parameters}) for catalog in CATALOGS),
        *(_of(endpoint, fields={"page": 0}) for endpoint in named),
        _of(endpoints.EVENTS),
    ]


def _details() -> list[Recording]:
    return [_of(catalog.details, (catalog.parameter,)) for catalog in CATALOGS]


def _series(spec: SeriesSpec, part: Part, zone: ZoneInfo) -> Recording:
    today = local_day(datetime.now(tz=UTC), zone)
    by_hour = spec.unit is Unit.HOUR
    days = 1 if by_hour else DAYS
    window: dict[str, Any] = request_parameters(Span(today - (days - 1) * ONE_DAY, today), spec.unit, zone)
    if by_hour:
        window["unit"] = "hour"
    if spec.summary:
        window["length"] = days
    naming = tuple(name for name in wire.entity_key(spec, {}) if spec.of or name not in BREAKS_DOWN)
    return _of(part.endpoint, naming, {**part.parameters, **window}, ".hour" if by_hour else "")


def _others() -> list[Recording]:
    profiles = {"fields_to_export": _PROFILE_FIELDS}
    unknown = {"canvas_id": "00000000-0000-0000-0000-000000000000"}
    return [
        _of(endpoints.USERS_EXPORT_IDS, ("external_ids",), profiles),
        _of(endpoints.USERS_EXPORT_SEGMENT, ("segment_id",), profiles),
        _of(endpoints.USERS_EXPORT_GLOBAL_CONTROL_GROUP, fields={"fields_to_export": ["braze_id"]}),
        _of(endpoints.EXPORT_SEGMENT_CANCEL, ("segment_id",)),
        Recording("errors.400", endpoints.CANVAS_DETAILS, fields=unknown),
    ]


def _of(
    endpoint: Endpoint, naming: tuple[str, ...] = (), fields: dict[str, Any] | None = None, suffix: str = ""
) -> Recording:
    return Recording(endpoint.path.replace("/", ".") + suffix, endpoint, naming, fields or {})
