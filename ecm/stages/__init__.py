"""Steps of the pipeline as plain callables over Arrow blocks. Knows no Ray."""
