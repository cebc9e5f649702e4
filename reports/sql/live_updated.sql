-- When was the newest number of a project written?
SELECT max(updated_at) FROM live_values WHERE project = ?
