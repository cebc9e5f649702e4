-- By file: events held, and how many of them came by import and never passed the bus.
SELECT filename, count(*), count(*) FILTER (starts_with(producer, 'import-'))
FROM read_parquet({files}, filename = true, union_by_name = true, hive_partitioning = false)
GROUP BY filename
