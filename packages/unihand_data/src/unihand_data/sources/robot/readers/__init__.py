"""One reader per container kind; none of them knows a data set by name."""
