"""Engines that are asked the same queries: one contract, one way to fail, one way to wait."""
