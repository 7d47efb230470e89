"""From a site's stream to arrays."""
