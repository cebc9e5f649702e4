-- Rows that the last rollup saw, without those that it found to be copies of others.
SELECT rows.*
FROM {rows} AS rows
ANTI JOIN (
  SELECT producer, seq, row FROM {repeats} WHERE project = {project} AND kind = {kind}
) AS repeats
ON rows.producer = repeats.producer AND rows.seq = repeats.seq AND rows.row = repeats.row
