DELETE FROM leases WHERE lease_seq = %(lease_seq)s;
