-- The rows of one project.
SELECT * FROM {source} WHERE project = {project}
