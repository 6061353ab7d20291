"""Plain frozen types that cross process borders. No I/O, no clock."""
