UPDATE batches
SET state = 'requeued'
WHERE batch_seq = %(batch_seq)s AND state = 'reported';
