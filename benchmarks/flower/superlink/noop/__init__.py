"""What the SuperLink and its SuperNodes run."""
