SELECT count(*) AS batches, coalesce(sum(tasks), 0) AS tasks
FROM batches
WHERE persisted_as > :after AND persisted_as <= :upto;
