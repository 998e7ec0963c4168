"""Training data in files: `export.py` first.  Each file format and each library in a file of its
own, which is imported when it is needed."""
