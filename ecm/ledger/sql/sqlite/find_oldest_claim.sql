SELECT min(leased_at) AS leased_at
FROM tasks INDEXED BY tasks_by_lease
WHERE lease_seq IS NOT NULL;
