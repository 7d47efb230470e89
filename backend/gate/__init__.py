"""What strangers may take of the web server: its connections, its threads, its disk, its patience."""
