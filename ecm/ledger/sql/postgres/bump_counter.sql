-- Sequences, so that nobody waits for another transaction; numbers of one that is rolled back are
-- lost. Of resources and events a call gets a block that ends with the value returned.
SELECT CASE %(name)s::text
    WHEN 'fence' THEN nextval('fences')
    WHEN 'resource' THEN nextval('resource_ids')
    WHEN 'event' THEN nextval('event_ids')
END AS value
WHERE %(by)s BETWEEN 0 AND CASE %(name)s::text WHEN 'fence' THEN 1 ELSE 1048576 END;
