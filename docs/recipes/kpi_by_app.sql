-- Key figures by app and month
-- How does each app do? A row per month and app: mean daily users, new users, uninstalls, and their balance. `*` is the
-- workspace as a whole, which is less than the sum of the apps, because people use several. Apps appear once they are named
-- in the setting `app_ids`.
select
    cast(date_trunc('month', date) as date) as month,
    app_id,
    count(*) as days,
    round(avg(dau), 1) as mean_dau,
    max(mau) as highest_mau,
    sum(new_users) as new_users,
    sum(uninstalls) as uninstalls,
    sum(new_users) - sum(uninstalls) as balance
from braze.kpi_daily
where date < (select max(date) from braze.kpi_daily)
group by cast(date_trunc('month', date) as date), app_id
order by month desc, app_id;
