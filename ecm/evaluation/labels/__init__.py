"""From what engines find and what people do and say to labels: pools, batches, votes, clicks."""
