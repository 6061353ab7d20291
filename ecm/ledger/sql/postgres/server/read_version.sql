SELECT version FROM ecm_ledger;
