-- The newest dead letters.
SELECT received_time, source, step, reason, message, original_text
FROM dead_letters
ORDER BY received_time DESC, dead_letter_id
LIMIT 200
