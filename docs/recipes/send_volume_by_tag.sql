-- Send volume by tag
-- Which topics fill the inboxes? A row per month and tag of campaigns: how many campaigns sent, how many messages, and their
-- share of all messages of the month. A campaign with two tags counts under both, so the shares add up to more than 100 %.
with volume as (
    select campaign_id, cast(date_trunc('month', date) as date) as month, sum(sent) as sent
    from braze.campaign_message_daily
    group by campaign_id, cast(date_trunc('month', date) as date)
    having sum(sent) > 0
),
months as (
    select month, sum(sent) as sent
    from volume
    group by month
)
select
    v.month,
    coalesce(t.tag, '(without a tag)') as tag,
    count(*) as campaigns,
    sum(v.sent) as sent,
    round(100.0 * sum(v.sent) / max(m.sent), 1) as percent_of_month
from volume v
join months m on m.month = v.month
left join braze.campaign_tags t on t.campaign_id = v.campaign_id
group by v.month, coalesce(t.tag, '(without a tag)')
order by v.month desc, sent desc, tag;
