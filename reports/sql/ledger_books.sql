-- By project, what the books of `reconcile` say: accepted, refused, under way, lines that do not add
-- up, and when the newest of them was drawn up.
SELECT
  project,
  sum(received - dead_lettered),
  sum(dead_lettered),
  sum(in_flight),
  count(problems),
  epoch_us(max(computed_at))
FROM read_parquet({files}, union_by_name = true, hive_partitioning = false)
GROUP BY project
