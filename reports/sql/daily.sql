-- The exact table between two days, both included.
SELECT day, metric, dimensions, value, denominator, computed_at, complete_until, events_in, duplicates
FROM daily
WHERE day BETWEEN ? AND ?
ORDER BY day DESC, metric, dimensions
