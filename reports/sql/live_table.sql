-- Every number of every minute.
SELECT minute, statistic, dimensions, total, sketch FROM span ORDER BY minute, dimensions
