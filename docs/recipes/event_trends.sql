-- Event trends, week over week
-- Which events rise or fall? A row per custom event: how often it happened in the last seven closed days, in the seven before,
-- and the change. A fall to 0 usually means that an app release stopped sending the event.
with newest as (
    select max(date) as day
    from braze.event_daily
),
weeks as (
    select
        e.event,
        sum(case when e.date >= n.day - 7 then e.count else 0 end) as last_week,
        sum(case when e.date < n.day - 7 then e.count else 0 end) as week_before
    from braze.event_daily e
    cross join newest n
    where e.app_id = '*'
      and e.segment_id = '*'
      and e.date < n.day
      and e.date >= n.day - 14
    group by e.event
)
select
    event,
    last_week,
    week_before,
    last_week - week_before as change,
    round(100.0 * (last_week - week_before) / nullif(week_before, 0), 1) as change_percent
from weeks
order by change_percent nulls first, event;
