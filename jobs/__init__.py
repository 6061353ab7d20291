"""Ray lives here: the programs that are submitted to a cluster, and the `ecm` command line."""
