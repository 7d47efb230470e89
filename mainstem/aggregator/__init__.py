"""The aggregator worker: follows open federations, folds their rounds, commits them. Imports no Django."""
