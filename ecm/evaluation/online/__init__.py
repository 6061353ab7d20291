"""Experiments on a service, judged while they run. Imports nothing by itself."""
