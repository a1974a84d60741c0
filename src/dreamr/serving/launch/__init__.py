"""`dreamr up`: start the servers of a pair, keep them up, and leave none."""
