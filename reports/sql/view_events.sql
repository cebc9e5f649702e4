-- Each event once. Of the copies of (source, type, event_id) that came since the last rollup the first
-- received counts, unless one that came before it lies less than 23 hours away.
SELECT * FROM {counted}
UNION ALL BY NAME
SELECT * EXCLUDE (copy)
FROM (
  SELECT
    *,
    row_number() OVER (
      PARTITION BY source, type, event_id ORDER BY received_time, producer, seq, row
    ) AS copy
  FROM {fresh}
) AS fresh
WHERE
  copy = 1
  AND NOT EXISTS (
    SELECT 1
    FROM {near} AS near
    WHERE
      near.project = {project}
      AND NOT ({is_new})
      AND near.source = fresh.source
      AND near.type = fresh.type
      AND near.event_id = fresh.event_id
      AND abs(epoch_us(near.event_time) - epoch_us(fresh.event_time)) <= 82800000000
  )
