"""What confines a process: files, calls, network, memory."""
