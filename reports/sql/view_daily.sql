-- The exact table.
SELECT * FROM {source} WHERE project = {project}
