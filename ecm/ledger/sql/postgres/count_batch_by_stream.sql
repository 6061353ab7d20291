SELECT stream_id, count(*) AS tasks
FROM tasks
WHERE batch_seq = %(batch_seq)s AND state = 'reported'
GROUP BY stream_id;
