-- Events with their person: ids that the table of identities joins are one, a single id is a person
-- of its own, and events without any id are nobody's.
SELECT e.* EXCLUDE (id, kind), coalesce(i.person_id, e.id) AS person
FROM (
  SELECT
    * REPLACE (nullif(user_id, '') AS user_id, nullif(anonymous_id, '') AS anonymous_id),
    coalesce(nullif(user_id, ''), nullif(anonymous_id, '')) AS id,
    CASE WHEN nullif(user_id, '') IS NULL THEN 'anonymous' ELSE 'user' END AS kind
  FROM events
) AS e
LEFT JOIN identities AS i ON i.id = e.id AND i.kind = e.kind
WHERE e.id IS NOT NULL
