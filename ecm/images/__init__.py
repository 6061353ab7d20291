"""Listing, reading and decoding images, and what can be computed from their pixels alone."""
