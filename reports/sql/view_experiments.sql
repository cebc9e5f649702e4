-- A row is an experiment, one of its variants, and a person who was exposed to that. The libraries
-- that tell of an exposure name it, and its parts, in their own ways; of several parts the first that
-- is there and not empty counts. Of an event whose JSON is broken there are none.
SELECT
  experiment,
  variant,
  person,
  min(event_time) AS first_exposed,
  max(event_time) AS last_exposed,
  count(*) AS exposures,
  count(variant) OVER (PARTITION BY experiment, person) AS variants
FROM (
  SELECT
    person,
    event_time,
    list_filter(
      TRY(json_extract_string(properties, [
        '$.experiment_id', '$.experimentId', '$.experiment_name', '$."Experiment name"',
        '$.flag_key', '$."$feature_flag"'
      ])), lambda part: part <> ''
    )[1] AS experiment,
    list_filter(
      TRY(json_extract_string(properties, [
        '$.variation_id', '$.variationId', '$.variant', '$.variation_name', '$."Variant name"',
        '$."$feature_flag_response"'
      ])), lambda part: part <> ''
    )[1] AS variant
  FROM ({events_of_people}) AS e
  WHERE
    type = 'track'
    AND name IN (
      'Experiment Viewed', 'Experiment Started', 'experiment_viewed', 'viewed_experiment',
      '$experiment_started', '$exposure', '$feature_flag_called'
    )
) AS exposures
WHERE experiment IS NOT NULL
GROUP BY experiment, variant, person
