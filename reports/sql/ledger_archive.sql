-- By file and project: events held, how many of them came by import and never passed the bus, and
-- the latest receipt.
SELECT
  filename,
  project,
  count(*),
  count(*) FILTER (starts_with(producer, 'import-')),
  epoch_us(max(received_time))
FROM read_parquet({files}, filename = true, union_by_name = true, hive_partitioning = false)
GROUP BY filename, project
