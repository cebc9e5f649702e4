-- Each event once: of the copies of (source, type, event_id) the first received.
SELECT * EXCLUDE (copy)
FROM (
  SELECT
    *,
    row_number() OVER (
      PARTITION BY source, type, event_id ORDER BY received_time, producer, seq, row
    ) AS copy
  FROM {source}
  WHERE project = {project}
)
WHERE copy = 1
