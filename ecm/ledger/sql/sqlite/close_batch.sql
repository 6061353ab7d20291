UPDATE batches SET state = 'requeued' WHERE batch_seq = :batch_seq AND state = 'reported';
