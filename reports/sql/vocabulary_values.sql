SELECT value, count(*) AS events
FROM (
  SELECT {value} AS value
  FROM events AS e
  WHERE event_time >= make_timestamptz($since::BIGINT) AND {named}
  LIMIT $rows
)
WHERE value IS NOT NULL
GROUP BY value
ORDER BY events DESC, value
LIMIT $most
