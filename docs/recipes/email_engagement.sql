-- E-mail engagement without machines
-- Do people read our mail? A row per campaign with e-mail over the 30 days before the newest one: opens with and without those
-- that mail privacy protection makes, and clicks. `human_opens` counts every open, `unique_opens` each recipient once but
-- with machines; clicks per delivered mail is the figure that no machine inflates.
select
    c.name as campaign,
    sum(m.delivered) as delivered,
    sum(m.unique_opens) as unique_opens,
    sum(m.opens) as opens,
    sum(m.opens) - sum(coalesce(m.machine_open, 0)) as human_opens,
    round(100.0 * sum(m.unique_clicks) / nullif(sum(m.delivered), 0), 2) as click_percent,
    round(100.0 * sum(m.unique_clicks) / nullif(sum(m.unique_opens), 0), 2) as click_to_open_percent,
    round(100.0 * sum(m.unsubscribes) / nullif(sum(m.delivered), 0), 3) as unsubscribed_percent
from braze.campaign_message_daily m
join braze.campaigns c on c.id = m.campaign_id
where m.channel = 'email'
  and m.date < (select max(date) from braze.campaign_message_daily)
  and m.date >= (select max(date) from braze.campaign_message_daily) - 30
group by c.id, c.name
having sum(m.delivered) > 0
order by click_percent desc, campaign, c.id;
