SELECT batch_seq, state FROM batches WHERE batch_id = %(batch_id)s FOR UPDATE;
