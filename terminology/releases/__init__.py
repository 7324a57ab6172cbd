"""Code systems too large for a resource: from the files of their publishers into the database."""
