UPDATE counters SET value = max(value, :upto) WHERE name = 'folded';
