-- How much in each minute?
SELECT minute, sum(total) FROM span GROUP BY minute
