-- Which hours hold sketches, and did any of them change?
SELECT minute / 3600000000 * 3600000000, max(updated_at), count(*) FROM span GROUP BY 1
