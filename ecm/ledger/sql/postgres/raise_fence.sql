-- No fence given out from now on is below the value.
SELECT setval('fences', greatest(nextval('fences'), %(value)s::bigint)) AS value;
