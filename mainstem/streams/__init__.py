"""What a sample is, and which ones are meant: announcements, codecs, surveys."""
