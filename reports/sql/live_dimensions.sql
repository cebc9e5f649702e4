-- In front of every other question: the rows of one statistic within a span. All its dimension
-- values are found by leaps through the primary key (project, statistic, dimensions, minute), and
-- each is then one seek; a plain WHERE on `minute` would walk through all of history every second.
WITH RECURSIVE known (dimensions) AS (
  SELECT min(dimensions) FROM live_values WHERE project = :project AND statistic = :statistic
  UNION ALL
  SELECT (
    SELECT min(dimensions) FROM live_values
    WHERE project = :project AND statistic = :statistic AND dimensions > known.dimensions
  )
  FROM known
  WHERE known.dimensions IS NOT NULL
),
span AS (
  SELECT value.*
  FROM known CROSS JOIN live_values AS value
  WHERE value.project = :project AND value.statistic = :statistic
    AND value.dimensions = known.dimensions AND value.minute >= :start AND value.minute < :end
)
