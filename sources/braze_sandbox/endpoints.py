"""The endpoints: path, permission of the key, rate-limit pool, and what answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sources.braze_sandbox import catalog, series
from sources.braze_sandbox.answers import Answer

if TYPE_CHECKING:
    from sources.braze_sandbox.workspace import Workspace


@dataclass(frozen=True)
class Endpoint:
    """What a path needs and who answers it; parameters are the query, for POST the JSON body."""

    permission: str
    pool: str
    answer: Callable[["Workspace", Mapping[str, Any]], Answer]


GET: Mapping[str, Endpoint] = {
    "/campaigns/list": Endpoint("campaigns.list", "shared", catalog.campaigns),
    "/campaigns/details": Endpoint("campaigns.details", "shared", catalog.campaign),
    "/campaigns/data_series": Endpoint("campaigns.data_series", "campaign_series", series.campaign),
    "/sends/data_series": Endpoint("sends.data_series", "shared", series.send),
    "/canvas/list": Endpoint("canvas.list", "shared", catalog.canvases),
    "/canvas/details": Endpoint("canvas.details", "shared", catalog.canvas),
    "/canvas/data_series": Endpoint("canvas.data_series", "shared", series.canvas),
    "/canvas/data_summary": Endpoint("canvas.data_summary", "shared", series.canvas_summary),
    "/segments/list": Endpoint("segments.list", "shared", catalog.segments),
    "/segments/details": Endpoint("segments.details", "shared", catalog.segment),
    "/segments/data_series": Endpoint("segments.data_series", "shared", series.segment),
    "/kpi/mau/data_series": Endpoint("kpi.mau.data_series", "shared", series.kpi("mau")),
    "/kpi/dau/data_series": Endpoint("kpi.dau.data_series", "shared", series.kpi("dau")),
    "/kpi/new_users/data_series": Endpoint("kpi.new_users.data_series", "shared", series.kpi("new_users")),
    "/kpi/uninstalls/data_series": Endpoint("kpi.uninstalls.data_series", "shared", series.kpi("uninstalls")),
    "/sessions/data_series": Endpoint("sessions.data_series", "shared", series.session),
    "/events/list": Endpoint("events.list", "catalogue", catalog.event_names),
    "/events": Endpoint("events.get", "catalogue", catalog.events),
    "/events/data_series": Endpoint("events.data_series", "shared", series.event),
    "/custom_attributes": Endpoint("custom_attributes.get", "catalogue", catalog.custom_attributes),
    "/purchases/product_list": Endpoint("purchases.product_list", "catalogue", catalog.products),
    "/purchases/quantity_series": Endpoint("purchases.quantity_series", "catalogue", series.quantity),
    "/purchases/revenue_series": Endpoint("purchases.revenue_series", "catalogue", series.revenue),
    "/feed/list": Endpoint("feed.list", "shared", catalog.cards),
    "/feed/details": Endpoint("feed.details", "shared", catalog.card),
    "/feed/data_series": Endpoint("feed.data_series", "shared", series.card),
}
"""The analytics and catalogue endpoints."""
