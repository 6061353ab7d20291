SELECT batch_id, state FROM batches WHERE batch_id IN (SELECT value FROM json_each(:batch_ids));
