DELETE FROM attempts WHERE slot < %(before)s;
