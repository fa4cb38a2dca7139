-- Stickiness: daily over monthly active users
-- How many of the month's users come on a given day? A row per closed day: DAU, MAU and their ratio, with the mean of the last
-- seven days, which takes the rhythm of the week out. 20 % says that the average user comes on six days of thirty.
select
    date,
    dau,
    mau,
    round(100.0 * dau / nullif(mau, 0), 2) as stickiness_percent,
    round(avg(100.0 * dau / nullif(mau, 0)) over (order by date rows between 6 preceding and current row), 2)
        as seven_day_percent
from braze.kpi_daily
where app_id = '*'
  and date < (select max(date) from braze.kpi_daily)
order by date desc;
