-- Canvas variants against their control group
-- What does a journey cause? A row per variant of each Canvas that has a control group: conversions per entry over all loaded
-- days, on the day of the entry, and the lift over the control group in percent. The API does not mark the control
-- group; it is the variant without a first step.
with variants as (
    select
        v.canvas_id,
        v.variant_id,
        v.name,
        case when count(f.step_id) = 0 then 1 else 0 end as is_control
    from braze.canvas_variants v
    left join braze.canvas_variant_first_steps f on f.canvas_id = v.canvas_id and f.variant_id = v.variant_id
    group by v.canvas_id, v.variant_id, v.name
),
figures as (
    select
        v.canvas_id,
        v.variant_id,
        v.name,
        v.is_control,
        sum(d.entries) as entries,
        sum(d.conversions_by_entry_time) as conversions,
        sum(d.revenue) as revenue
    from variants v
    join braze.canvas_variant_daily d on d.canvas_id = v.canvas_id and d.variant_id = v.variant_id
    group by v.canvas_id, v.variant_id, v.name, v.is_control
    having sum(d.entries) > 0
),
controls as (
    select canvas_id, sum(entries) as entries, sum(conversions) as conversions
    from figures
    where is_control = 1
    group by canvas_id
)
select
    c.name as canvas,
    f.name as variant,
    f.entries,
    f.conversions,
    round(100.0 * f.conversions / f.entries, 3) as conversion_percent,
    round(100.0 * o.conversions / o.entries, 3) as control_percent,
    round(100.0 * ((1.0 * f.conversions / f.entries) / nullif(1.0 * o.conversions / o.entries, 0) - 1), 1)
        as lift_percent,
    cast(f.revenue / f.entries as decimal(18, 4)) as revenue_per_entry
from figures f
join controls o on o.canvas_id = f.canvas_id
join braze.canvases c on c.id = f.canvas_id
where f.is_control = 0
order by canvas, variant;
