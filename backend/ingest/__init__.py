"""What control loggers bring: records of Kafka become rows of runs and streams."""
