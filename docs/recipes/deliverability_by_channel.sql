-- Deliverability by channel
-- Do messages arrive? A row per channel over the 30 days before the newest one, campaigns and Canvas steps together: sent,
-- delivered, and what went wrong in percent of sent. Not every channel reports every counter; an empty cell means that the
-- channel has no such figure, not 0. In e-mail, look twice at bounces above 2 % and spam reports above 0.1 %.
with messages as (
    select date, channel, sent, delivered, bounces, delivery_failed, failed, rejected, errors, reported_spam, unsubscribes
    from braze.campaign_message_daily
    union all
    select date, channel, sent, delivered, bounces, delivery_failed, failed, rejected, errors, reported_spam, unsubscribes
    from braze.canvas_step_message_daily
)
select
    channel,
    sum(sent) as sent,
    sum(delivered) as delivered,
    round(100.0 * sum(delivered) / nullif(sum(sent), 0), 2) as delivered_percent,
    round(100.0 * sum(bounces) / nullif(sum(sent), 0), 2) as bounced_percent,
    round(
        100.0 * sum(coalesce(delivery_failed + rejected, delivery_failed, failed, errors)) / nullif(sum(sent), 0), 2
    ) as failed_percent,
    round(100.0 * sum(reported_spam) / nullif(sum(sent), 0), 3) as spam_percent,
    round(100.0 * sum(unsubscribes) / nullif(sum(sent), 0), 3) as unsubscribed_percent
from messages
where date < (select max(date) from messages)
  and date >= (select max(date) from messages) - 30
group by channel
having sum(sent) > 0
order by sent desc, channel;
