"""Rows that wait for the warehouse are bounded, whatever packing adds to them."""

import asyncio
from datetime import date, timedelta

from sources.braze.known import Known
from sources.braze.outbox import BACKLOG_ROWS, WAITING_ROWS, Outbox
from sources.braze.parcels import PACKED_ROWS, Parcel
from sources.braze.rows import Sheet

FIRST = date(2020, 1, 1)


def parcel(campaign: str, rows: int) -> Parcel:
    """Days of a campaign that has no messages: each is the parent of none, and its tombstone is one more row."""
    days = [{"campaign_id": campaign, "date": FIRST + timedelta(days=day)} for day in range(rows)]
    return Parcel(plain={"campaign_daily": Sheet(days), "campaign_message_daily": Sheet()}, parents=Sheet(days))


def test_what_packing_adds_leaves_the_bound_of_what_waits_as_it_is() -> None:
    async def waits() -> bool:
        outbox = Outbox(Known(filled={"campaign_message_daily"}))
        outbox.open()
        for number in range(2 * BACKLOG_ROWS // PACKED_ROWS):
            outbox.post("campaign_series", parcel(str(number), PACKED_ROWS))
        taken = []
        while found := outbox.take("campaign_series"):
            taken.append(found)
        assert sum(found.rows for found in taken) > 2 * BACKLOG_ROWS
        outbox.post("campaign_series", parcel("last", WAITING_ROWS))
        room = asyncio.ensure_future(outbox.room())
        await asyncio.sleep(0)
        waiting = not room.done()
        room.cancel()
        return waiting

    assert asyncio.run(waits())
