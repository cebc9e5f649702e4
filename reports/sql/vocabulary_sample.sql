SELECT name, type, properties, context
FROM events
WHERE event_time >= make_timestamptz($since::BIGINT)
LIMIT $rows
