-- A/B test: is the difference real?
-- Is one message variation better than the first one, or is it chance? A row per campaign and later variation: the difference
-- of the conversion rates in percentage points with its 95 % interval (normal approximation). Where the interval includes 0
-- the test has not decided yet; trust it from about 100 conversions per variation on, and do not stop a test at its first yes.
with variants as (
    select
        campaign_id,
        channel,
        position,
        max(variation_name) as variation_name,
        cast(sum(unique_recipients) as double precision) as users,
        cast(sum(conversions_by_send_time) as double precision) as conversions
    from braze.campaign_message_daily
    group by campaign_id, channel, position
    having sum(unique_recipients) > 0 and sum(conversions_by_send_time) > 0 and max(enrolled) is null
),
pairs as (
    select
        a.campaign_id,
        a.channel,
        a.variation_name as first_variation,
        b.variation_name as other_variation,
        b.position,
        a.conversions / a.users as first_rate,
        b.conversions / b.users as other_rate,
        sqrt(
            (a.conversions / a.users) * (1 - a.conversions / a.users) / a.users
            + (b.conversions / b.users) * (1 - b.conversions / b.users) / b.users
        ) as standard_error
    from variants a
    join variants b on b.campaign_id = a.campaign_id and b.channel = a.channel and b.position > a.position
    where a.position = (
        select min(f.position) from variants f where f.campaign_id = a.campaign_id and f.channel = a.channel
    )
)
select
    c.name as campaign,
    p.channel,
    p.first_variation,
    p.other_variation,
    round(cast(100 * (p.other_rate - p.first_rate) as decimal(18, 6)), 3) as difference_points,
    round(cast(100 * (p.other_rate - p.first_rate - 1.96 * p.standard_error) as decimal(18, 6)), 3) as from_points,
    round(cast(100 * (p.other_rate - p.first_rate + 1.96 * p.standard_error) as decimal(18, 6)), 3) as to_points,
    case
        when p.other_rate - p.first_rate > 1.96 * p.standard_error then 'other is better'
        when p.other_rate - p.first_rate < -1.96 * p.standard_error then 'first is better'
        else 'undecided'
    end as verdict
from pairs p
join braze.campaigns c on c.id = p.campaign_id
order by campaign, p.channel, p.position;
