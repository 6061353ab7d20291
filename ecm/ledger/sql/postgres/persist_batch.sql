UPDATE batches
SET state = 'persisted', persisted_at = %(now)s, versions = %(versions)s,
    persisted_as = %(persisted_as)s
WHERE batch_seq = %(batch_seq)s AND state = 'reported';
