-- Every number of every minute of a span.
SELECT minute, statistic, dimensions, total, sketch
FROM live_values
WHERE project = ? AND minute >= ? AND minute < ?
ORDER BY minute, statistic, dimensions
