UPDATE batches SET tasks = tasks + :tasks WHERE batch_seq = :batch_seq AND state = 'reported';
