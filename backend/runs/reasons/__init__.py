"""Why a run does not go on, in sentences."""
