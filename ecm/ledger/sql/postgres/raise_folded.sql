UPDATE counters SET value = greatest(value, %(upto)s) WHERE name = 'folded';
