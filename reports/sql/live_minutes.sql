-- How much in each minute?
SELECT minute, sum(total)
FROM live_values
WHERE project = ? AND statistic = ? AND minute >= ? AND minute < ?
GROUP BY minute
