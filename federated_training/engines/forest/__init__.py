"""Trains forests of boosted trees with XGBoost."""
