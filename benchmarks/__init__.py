"""What README's figures come from: one command each, a table and JSON out."""
