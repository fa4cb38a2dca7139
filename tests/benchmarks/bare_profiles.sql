-- The tables of exported profiles as an engineer would make them who knows that every field is as documented.
-- $source is the file of JSON lines.
CREATE TEMP TABLE profiles AS FROM read_ndjson('$source', columns = {
    braze_id: 'VARCHAR',
    external_id: 'VARCHAR',
    appboy_id: 'VARCHAR',
    created_from: 'VARCHAR',
    first_name: 'VARCHAR',
    last_name: 'VARCHAR',
    email: 'VARCHAR',
    home_city: 'VARCHAR',
    country: 'VARCHAR',
    phone: 'VARCHAR',
    language: 'VARCHAR',
    time_zone: 'VARCHAR',
    gender: 'VARCHAR',
    attributed_campaign: 'VARCHAR',
    attributed_source: 'VARCHAR',
    attributed_adgroup: 'VARCHAR',
    attributed_ad: 'VARCHAR',
    push_subscribe: 'VARCHAR',
    email_subscribe: 'VARCHAR',
    created_at: 'TIMESTAMPTZ',
    push_opted_in_at: 'TIMESTAMPTZ',
    push_unsubscribed_at: 'TIMESTAMPTZ',
    email_opted_in_at: 'TIMESTAMPTZ',
    email_unsubscribed_at: 'TIMESTAMPTZ',
    uninstalled_at: 'TIMESTAMPTZ',
    random_bucket: 'BIGINT',
    dob: 'DATE',
    last_coordinates: 'JSON',
    total_revenue: 'DOUBLE',
    custom_attributes: 'MAP(VARCHAR, JSON)',
    user_aliases: 'STRUCT(alias_name VARCHAR, alias_label VARCHAR)[]',
    devices: 'STRUCT(model VARCHAR, os VARCHAR, carrier VARCHAR, device_id VARCHAR, idfv VARCHAR, idfa VARCHAR, google_ad_id VARCHAR, roku_ad_id VARCHAR, windows_ad_id VARCHAR, ad_tracking_enabled BOOLEAN)[]',
    push_tokens: 'STRUCT(app VARCHAR, platform VARCHAR, token VARCHAR, device_id VARCHAR, notifications_enabled BOOLEAN, provisionally_opted_in BOOLEAN)[]',
    apps: 'STRUCT(name VARCHAR, platform VARCHAR, version VARCHAR, sessions BIGINT, first_used TIMESTAMPTZ, last_used TIMESTAMPTZ)[]',
    cards_clicked: 'STRUCT(name VARCHAR)[]',
    custom_events: 'STRUCT(name VARCHAR, first TIMESTAMPTZ, last TIMESTAMPTZ, count BIGINT)[]',
    purchases: 'STRUCT(name VARCHAR, first TIMESTAMPTZ, last TIMESTAMPTZ, count BIGINT)[]',
    campaigns_received: 'STRUCT(api_campaign_id VARCHAR, name VARCHAR, last_received TIMESTAMPTZ, engaged STRUCT(opened_email BOOLEAN, opened_push BOOLEAN, clicked_email BOOLEAN, clicked_triggered_in_app_message BOOLEAN, clicked_in_app_message BOOLEAN), converted BOOLEAN, multiple_converted MAP(VARCHAR, BOOLEAN), in_control BOOLEAN, variation_name VARCHAR, variation_api_id VARCHAR)[]',
    canvases_received: 'STRUCT(api_canvas_id VARCHAR, name VARCHAR, last_received_message TIMESTAMPTZ, last_entered TIMESTAMPTZ, last_exited TIMESTAMPTZ, last_entered_control_at TIMESTAMPTZ, variation_name VARCHAR, in_control BOOLEAN, steps_received STRUCT(api_canvas_step_id VARCHAR, name VARCHAR, last_received TIMESTAMPTZ)[])[]'
});

CREATE TABLE users AS SELECT braze_id, external_id, appboy_id, created_at, created_from, random_bucket, first_name, last_name, email, dob, home_city, country, phone, language, time_zone, last_coordinates, gender, total_revenue, attributed_campaign, attributed_source, attributed_adgroup, attributed_ad, push_subscribe, push_opted_in_at, push_unsubscribed_at, email_subscribe, email_opted_in_at, email_unsubscribed_at, uninstalled_at FROM profiles;

CREATE TABLE user_custom_attributes AS
SELECT braze_id, name, CASE json_type(value) WHEN 'VARCHAR' THEN 'string' WHEN 'NULL' THEN 'null'
    WHEN 'BOOLEAN' THEN 'boolean' WHEN 'OBJECT' THEN 'object' WHEN 'ARRAY' THEN 'array' ELSE 'number' END AS type, value
FROM (SELECT braze_id, unnest(map_keys(custom_attributes)) AS name, unnest(map_values(custom_attributes)) AS value FROM profiles);

CREATE TABLE user_aliases AS SELECT braze_id, generate_subscripts(user_aliases, 1) AS position, unnest(user_aliases, recursive := true) FROM profiles;
CREATE TABLE user_devices AS SELECT braze_id, generate_subscripts(devices, 1) AS position, unnest(devices, recursive := true) FROM profiles;
CREATE TABLE user_push_tokens AS SELECT braze_id, generate_subscripts(push_tokens, 1) AS position, unnest(push_tokens, recursive := true) FROM profiles;
CREATE TABLE user_apps AS SELECT braze_id, generate_subscripts(apps, 1) AS position, unnest(apps, recursive := true) FROM profiles;
CREATE TABLE user_cards_clicked AS SELECT braze_id, generate_subscripts(cards_clicked, 1) AS position, unnest(cards_clicked, recursive := true) FROM profiles;
CREATE TABLE user_custom_events AS SELECT braze_id, unnest(custom_events, recursive := true) FROM profiles;
CREATE TABLE user_purchases AS SELECT braze_id, unnest(purchases, recursive := true) FROM profiles;

CREATE TEMP TABLE campaigns AS SELECT braze_id, unnest(campaigns_received) AS c FROM profiles;
CREATE TABLE user_campaigns_received AS
SELECT braze_id, c.api_campaign_id, c.name, c.last_received, unnest(c.engaged), c.converted, c.in_control,
    c.variation_name, c.variation_api_id
FROM campaigns;
CREATE TABLE user_campaign_conversions AS
SELECT braze_id, c.api_campaign_id, unnest(map_keys(c.multiple_converted)) AS conversion_event,
    unnest(map_values(c.multiple_converted)) AS converted, c.last_received
FROM campaigns;

CREATE TEMP TABLE canvases AS SELECT braze_id, unnest(canvases_received) AS c FROM profiles;
CREATE TABLE user_canvases_received AS
SELECT braze_id, c.api_canvas_id, c.name, c.last_received_message, c.last_entered, c.last_exited,
    c.last_entered_control_at, c.variation_name, c.in_control
FROM canvases;
CREATE TABLE user_canvas_steps_received AS
SELECT braze_id, api_canvas_id, step.api_canvas_step_id, step.name, step.last_received
FROM (SELECT braze_id, c.api_canvas_id, unnest(c.steps_received) AS step FROM canvases);
