"""The build side: from Debian source packages and hashed wheels to one self-extracting file."""
