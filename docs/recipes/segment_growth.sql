-- Segment growth
-- Which audiences grow? A row per segment with analytics tracking: its estimated size on the newest closed day and 28 days
-- (four whole weeks) before, or on its first day if it is younger, and the change. Sizes are Braze's estimates: differences of
-- a per cent or so are noise.
with bounds as (
    select
        segment_id,
        max(date) as last_day,
        min(date) as first_day
    from braze.segment_daily
    where date < (select max(date) from braze.segment_daily)
      and date >= (select max(date) from braze.segment_daily) - 29
    group by segment_id
)
select
    s.name as segment,
    b.first_day,
    b.last_day,
    f.size as first_size,
    l.size as last_size,
    l.size - f.size as growth,
    round(100.0 * (l.size - f.size) / nullif(f.size, 0), 2) as growth_percent
from bounds b
join braze.segment_daily f on f.segment_id = b.segment_id and f.date = b.first_day
join braze.segment_daily l on l.segment_id = b.segment_id and l.date = b.last_day
join braze.segments s on s.id = b.segment_id
order by growth_percent desc nulls last, segment;
