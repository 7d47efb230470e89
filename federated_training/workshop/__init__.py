"""The workshop: models that people gave, opened and checked in confined processes."""
