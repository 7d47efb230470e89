"""A test bed of strategies against hostile clients: real digits, simulated sites, this project's own reducer."""
