"""Models behind manifests: verified files in, statements and unit vectors out."""
