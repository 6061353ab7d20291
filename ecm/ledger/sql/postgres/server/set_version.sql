UPDATE ecm_ledger SET version = %(version)s;
