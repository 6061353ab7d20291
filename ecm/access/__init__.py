"""Who may ask what of a service: keys, scopes, rates, and a record of what administrators did.

Knows no HTTP, no ledger and no evidence.
"""
