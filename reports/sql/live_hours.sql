-- Which hours hold sketches, and did any of them change?
SELECT minute / 3600000000 * 3600000000, max(updated_at), count(*)
FROM live_values
WHERE project = ? AND statistic = ? AND minute >= ? AND minute < ?
GROUP BY 1
