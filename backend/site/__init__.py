"""What every page has in common: templates, static files, tags, forms, middleware."""
