"""Small robot data sets in the documented formats, labelled synthetic, from one simulated pick and place.

Writers use formulas of their own (never a reader's or a converter's), so that reading back is a test.
"""
