-- By project, events counted and repeats left out, over all days.
SELECT project, sum(events_in), sum(duplicates)
FROM (
  SELECT DISTINCT project, day, events_in, duplicates
  FROM read_parquet({files}, union_by_name = true, hive_partitioning = false)
)
GROUP BY project
