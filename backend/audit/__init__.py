"""Who did what: a record of each change by a person or a program, kept in a table and carried to a topic of its own."""
