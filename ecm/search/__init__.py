"""From a question to explained hits on one published snapshot. Knows no HTTP."""
