"""report.html: the pictures a person looks at first."""
