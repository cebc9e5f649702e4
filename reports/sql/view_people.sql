-- A row is a person: ids that the table of identities joins are one, a single id is a person of its
-- own, and events without any id are nobody's.
SELECT
  coalesce(i.person_id, e.id) AS person,
  coalesce(list_sort(list(DISTINCT e.user_id) FILTER (WHERE e.user_id IS NOT NULL)), []) AS user_ids,
  coalesce(
    list_sort(list(DISTINCT e.anonymous_id) FILTER (WHERE e.anonymous_id IS NOT NULL)), []
  ) AS anonymous_ids,
  min(e.event_time) AS first_seen,
  max(e.event_time) AS last_seen,
  count(*) AS events,
  count(DISTINCT e.order_id) FILTER (WHERE coalesce(e.revenue_minor, 0) >= 0) AS orders,
  arg_max(e.properties, (e.event_time, e.received_time, e.event_id))
    FILTER (WHERE e.type = 'identify' AND e.properties IS NOT NULL) AS traits
FROM (
  SELECT
    coalesce(nullif(user_id, ''), nullif(anonymous_id, '')) AS id,
    CASE WHEN nullif(user_id, '') IS NULL THEN 'anonymous' ELSE 'user' END AS kind,
    nullif(user_id, '') AS user_id,
    nullif(anonymous_id, '') AS anonymous_id,
    event_time, received_time, event_id, order_id, revenue_minor, type, properties
  FROM events
) AS e
LEFT JOIN identities AS i ON i.id = e.id AND i.kind = e.kind
WHERE e.id IS NOT NULL
GROUP BY 1
