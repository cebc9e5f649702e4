-- How many for which reason?
SELECT reason, count(*) FROM dead_letters GROUP BY reason ORDER BY 2 DESC, 1
