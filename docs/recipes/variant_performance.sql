-- Campaign variants against their control group
-- What does a message cause beyond what happens anyway? A row per message variation of each campaign that has a control group:
-- conversions per recipient over all loaded days, on the day of the send, beside the control group's, and the lift
-- over it in percent. The control group received nothing, so a lift near 0 means that the message changed nothing.
with variants as (
    select
        campaign_id,
        coalesce(variation_api_id, variation_name, cast(position as varchar)) as variation,
        max(variation_name) as variation_name,
        max(channel) as channel,
        max(case when enrolled is not null then 1 else 0 end) as is_control,
        sum(coalesce(enrolled, unique_recipients)) as users,
        sum(conversions_by_send_time) as conversions
    from braze.campaign_message_daily
    group by campaign_id, coalesce(variation_api_id, variation_name, cast(position as varchar))
),
controls as (
    select campaign_id, sum(users) as users, sum(conversions) as conversions
    from variants
    where is_control = 1
    group by campaign_id
    having sum(users) > 0
)
select
    c.name as campaign,
    v.channel,
    coalesce(v.variation_name, v.variation) as variation,
    v.users as recipients,
    v.conversions,
    round(100.0 * v.conversions / nullif(v.users, 0), 3) as conversion_percent,
    round(100.0 * o.conversions / o.users, 3) as control_percent,
    round(100.0 * ((1.0 * v.conversions / nullif(v.users, 0)) / nullif(1.0 * o.conversions / o.users, 0) - 1), 1)
        as lift_percent
from variants v
join controls o on o.campaign_id = v.campaign_id
join braze.campaigns c on c.id = v.campaign_id
where v.is_control = 0
order by lift_percent desc nulls last, campaign, variation;
