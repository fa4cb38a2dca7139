-- Purchases by week
-- How does revenue develop? A row per closed week (from Monday) and product; `*` is everything together, single products
-- appear once they are named in the setting `products`. Orders are not counted by Braze: the price is per unit.
with bounds as (
    select
        cast(date_trunc('week', min(date) + 6) as date) as first_monday,
        cast(date_trunc('week', max(date)) as date) as this_monday
    from braze.purchase_daily
)
select
    cast(date_trunc('week', p.date) as date) as week,
    p.product,
    sum(p.quantity) as quantity,
    cast(sum(p.revenue) as decimal(18, 2)) as revenue,
    cast(sum(p.revenue) / nullif(sum(p.quantity), 0) as decimal(18, 2)) as price_per_unit
from braze.purchase_daily p
cross join bounds b
where p.app_id = '*'
  and p.date >= b.first_monday
  and p.date < b.this_monday
group by cast(date_trunc('week', p.date) as date), p.product
order by week desc, revenue desc, p.product;
