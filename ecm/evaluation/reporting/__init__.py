"""What came of an evaluation, told to people: a Markdown report, pictures, pages, a trend."""
