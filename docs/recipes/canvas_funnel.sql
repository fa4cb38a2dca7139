-- Canvas funnel by step path
-- Where do people leave a journey? A row per path through a Canvas, from each first step along the edges of the graph: who
-- was reached at its last step, as a share of the Canvas's entries. A step that several paths lead to appears once per path,
-- with its recipients from all of them. Steps that only split or wait send nothing and have 0 recipients: read on to the next.
with recursive paths as (
    select
        f.canvas_id,
        f.step_id,
        1 as depth,
        cast('/' || f.step_id || '/' as text) as visited,
        cast(coalesce(s.name, f.step_id) as text) as path
    from (select distinct canvas_id, step_id from braze.canvas_variant_first_steps) f
    left join braze.canvas_steps s on s.canvas_id = f.canvas_id and s.step_id = f.step_id
    union all
    select
        p.canvas_id,
        e.next_step_id,
        p.depth + 1,
        cast(p.visited || e.next_step_id || '/' as text),
        cast(p.path || ' > ' || coalesce(e.name || ': ', '') || coalesce(s.name, e.next_step_id) as text)
    from paths p
    join braze.canvas_step_paths e on e.canvas_id = p.canvas_id and e.step_id = p.step_id
    left join braze.canvas_steps s on s.canvas_id = e.canvas_id and s.step_id = e.next_step_id
    where e.next_step_id is not null
      and p.depth < 12
      and position('/' || e.next_step_id || '/' in p.visited) = 0
),
entries as (
    select canvas_id, sum(entries) as entries
    from braze.canvas_daily
    group by canvas_id
),
reached as (
    select canvas_id, step_id, sum(unique_recipients) as recipients, sum(conversions_by_entry_time) as conversions
    from braze.canvas_step_daily
    group by canvas_id, step_id
)
select
    c.name as canvas,
    p.depth,
    p.path,
    coalesce(r.recipients, 0) as recipients,
    round(100.0 * coalesce(r.recipients, 0) / nullif(n.entries, 0), 1) as percent_of_entries,
    coalesce(r.conversions, 0) as conversions
from paths p
join braze.canvases c on c.id = p.canvas_id
join entries n on n.canvas_id = p.canvas_id and n.entries > 0
left join reached r on r.canvas_id = p.canvas_id and r.step_id = p.step_id
order by canvas, p.path;
