-- First and last day of the exact table.
SELECT min(day), max(day) FROM daily
