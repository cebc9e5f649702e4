-- Each dead letter once, its original as text too. Damaged blocks hold rows of several projects:
-- they have no project and are in nobody's view.
SELECT * EXCLUDE (copy), decode(original, 'replace') AS original_text
FROM (
  SELECT
    *,
    row_number() OVER (PARTITION BY dead_letter_id ORDER BY received_time) AS copy
  FROM {source}
  WHERE project = {project}
)
WHERE copy = 1
