SELECT json_extract_string(dimensions, '$.name') AS name, sum(value)::BIGINT AS events
FROM daily
WHERE metric = 'events' AND day > (SELECT max(day) FROM daily) - 90
GROUP BY ALL
ORDER BY events DESC, name
LIMIT 1000
