"""What every process stands on: logs, metrics, processes, settings, clocks, disks. Knows no protocol."""
