-- Waits for a claim that the dead holder left behind half done.
SELECT lease_seq, holder FROM leases WHERE holder = %(holder)s LIMIT 1 FOR UPDATE;
