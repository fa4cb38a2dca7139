-- Message pressure
-- How much do we ask of our users? A row per closed day: messages sent by campaigns and by Canvases, and how many that makes
-- per monthly active user. In-app messages, banners and cards that wait in the app are shown, not sent, and do not count
-- where Braze reports no `sent` for them.
with sent as (
    select date, sent as by_campaigns, 0 as by_canvases
    from braze.campaign_message_daily
    union all
    select date, 0 as by_campaigns, sent as by_canvases
    from braze.canvas_step_message_daily
),
days as (
    select date, sum(by_campaigns) as by_campaigns, sum(by_canvases) as by_canvases
    from sent
    group by date
)
select
    k.date,
    coalesce(d.by_campaigns, 0) as by_campaigns,
    coalesce(d.by_canvases, 0) as by_canvases,
    k.mau,
    round(1.0 * (coalesce(d.by_campaigns, 0) + coalesce(d.by_canvases, 0)) / nullif(k.mau, 0), 3) as messages_per_user
from braze.kpi_daily k
left join days d on d.date = k.date
where k.app_id = '*'
  and k.date < (select max(date) from braze.kpi_daily)
order by k.date desc;
