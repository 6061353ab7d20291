"""Is the new one better, and may it ship: queries, labels, engines, measures, gates, reports."""
