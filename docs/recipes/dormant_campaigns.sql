-- Dormant campaigns
-- What could be archived? A row per campaign that is still active, neither archived nor a draft, and has not sent anything for
-- 30 days: when it last did (empty: never), and how many it reached since the first loaded day. Look at triggered ones
-- first: often it is the trigger that broke.
with reach as (
    select campaign_id, sum(unique_recipients) as recipients
    from braze.campaign_daily
    group by campaign_id
)
select
    c.name as campaign,
    c.schedule_type,
    cast(c.created_at at time zone 'UTC' as date) as created,
    cast(c.last_sent at time zone 'UTC' as date) as last_sent,
    coalesce(r.recipients, 0) as recipients
from braze.campaigns c
left join reach r on r.campaign_id = c.id
where c.enabled
  and not c.archived
  and not c.draft
  and (
      c.last_sent is null
      or cast(c.last_sent at time zone 'UTC' as date) < (select max(date) from braze.campaign_daily) - 30
  )
  and cast(c.created_at at time zone 'UTC' as date) < (select max(date) from braze.campaign_daily) - 30
order by c.last_sent nulls first, campaign, c.id;
