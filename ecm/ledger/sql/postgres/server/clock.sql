SELECT extract(EPOCH FROM clock_timestamp())::double precision AS now;
