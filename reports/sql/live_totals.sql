-- How much, by dimensions?
SELECT dimensions, sum(total)
FROM live_values
WHERE project = ? AND statistic = ? AND minute >= ? AND minute < ?
GROUP BY dimensions
