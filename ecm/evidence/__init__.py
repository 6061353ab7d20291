"""What runs said about images, kept for ever: tables, batches, runs and published snapshots."""
