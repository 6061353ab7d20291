"""Judging by people: the labelling page with its small server, and the same in a terminal."""
