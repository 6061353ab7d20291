"""Ray Serve lives here: the HTTP search application."""
