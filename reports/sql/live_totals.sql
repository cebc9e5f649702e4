-- How much, by dimensions?
SELECT dimensions, sum(total) FROM span GROUP BY dimensions
