-- A row is a person.
SELECT
  person,
  coalesce(list_sort(list(DISTINCT user_id) FILTER (WHERE user_id IS NOT NULL)), []) AS user_ids,
  coalesce(
    list_sort(list(DISTINCT anonymous_id) FILTER (WHERE anonymous_id IS NOT NULL)), []
  ) AS anonymous_ids,
  min(event_time) AS first_seen,
  max(event_time) AS last_seen,
  count(*) AS events,
  count(DISTINCT order_id) FILTER (WHERE coalesce(revenue_minor, 0) >= 0) AS orders,
  arg_max(properties, (event_time, received_time, event_id))
    FILTER (WHERE type = 'identify' AND properties IS NOT NULL) AS traits
FROM ({events_of_people}) AS e
GROUP BY person
