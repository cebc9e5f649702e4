-- Events held, and how many of them came by import and never passed the bus.
SELECT count(*), count(*) FILTER (starts_with(producer, 'import-')) FROM {source}
