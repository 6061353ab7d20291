"""Where ledger and evidence store meet: admit, commit, recover, audit. Knows no Ray and no HTTP."""
