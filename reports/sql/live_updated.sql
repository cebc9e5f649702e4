-- When was the newest number of the span written?
SELECT max(updated_at) FROM span
