-- The sketches of a span.
SELECT sketch FROM span
