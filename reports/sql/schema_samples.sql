-- Properties of the newest events of a type and name; of all names where the name is empty.
SELECT properties
FROM events
WHERE type = $1 AND ($2 = '' OR name = $2)
ORDER BY received_time DESC
LIMIT 5000
