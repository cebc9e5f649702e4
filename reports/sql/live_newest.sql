-- The newest minute that there is.
SELECT max((
  SELECT max(minute) FROM live_values
  WHERE project = :project AND statistic = :statistic AND dimensions = known.dimensions
))
FROM known
