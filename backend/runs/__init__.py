"""What people see of runs and do with them: pages, the REST API, charts, reasons, the platform's health."""
