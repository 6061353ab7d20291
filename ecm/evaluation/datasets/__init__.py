"""Query sets and their labels: drawn from what is known of assets, split, kept and refreshed."""
