SELECT batch_id, state
FROM batches
WHERE batch_id = ANY (ARRAY(SELECT json_array_elements_text(%(batch_ids)s::json)));
