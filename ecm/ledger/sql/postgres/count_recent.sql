SELECT count(*) AS batches, coalesce(sum(tasks), 0)::bigint AS tasks
FROM batches
WHERE persisted_as > %(after)s AND persisted_as <= %(upto)s;
