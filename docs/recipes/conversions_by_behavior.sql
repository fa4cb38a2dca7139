-- Conversions and revenue by conversion event
-- What do campaigns achieve, and by which of their conversion events? A row per campaign and configured event, the primary one
-- at position 0: its conversions, on the day of the send, per recipient, and the campaign's revenue, which Braze does
-- not split by event. The API always returns four counters; only those with an event here mean anything.
with totals as (
    select
        campaign_id,
        sum(unique_recipients) as recipients,
        sum(revenue) as revenue,
        sum(conversions_by_send_time) as conversions0,
        sum(conversions1_by_send_time) as conversions1,
        sum(conversions2_by_send_time) as conversions2,
        sum(conversions3_by_send_time) as conversions3
    from braze.campaign_daily
    group by campaign_id
    having sum(unique_recipients) > 0 or sum(revenue) > 0
)
select
    c.name as campaign,
    b.position,
    b.type,
    coalesce(b.custom_event_name, b.product) as detail,
    round(b."window" / 86400.0, 1) as window_days,
    t.recipients,
    case b.position
        when 0 then t.conversions0
        when 1 then t.conversions1
        when 2 then t.conversions2
        when 3 then t.conversions3
    end as conversions,
    round(
        100.0 * case b.position
            when 0 then t.conversions0
            when 1 then t.conversions1
            when 2 then t.conversions2
            when 3 then t.conversions3
        end / nullif(t.recipients, 0),
        3
    ) as conversion_percent,
    cast(t.revenue as decimal(18, 2)) as campaign_revenue
from totals t
join braze.campaign_conversion_behaviors b on b.campaign_id = t.campaign_id
join braze.campaigns c on c.id = t.campaign_id
order by campaign_revenue desc, campaign, c.id, b.position;
