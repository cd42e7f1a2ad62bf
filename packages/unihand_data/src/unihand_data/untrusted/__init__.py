"""Foreign bytes read without trusting them: pickles by an allow-list, tables with bounds, arrays of checked shape."""
