"""Weights of ranking learned from labelled queries."""
