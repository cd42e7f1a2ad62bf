"""Small synthetic corpora in the documented formats: for tests and for trying a pipeline without a download.

They follow the published descriptions, so they cannot show that a description is right.
"""
