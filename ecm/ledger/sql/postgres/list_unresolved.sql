SELECT b.batch_id, b.reported_at, t.task_id
FROM batches AS b
LEFT JOIN tasks AS t ON t.batch_seq = b.batch_seq
WHERE b.state = 'reported'
ORDER BY b.batch_seq, t.seq;
