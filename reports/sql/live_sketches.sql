-- The sketches of a span.
SELECT sketch
FROM live_values
WHERE project = ? AND statistic = ? AND minute >= ? AND minute < ?
