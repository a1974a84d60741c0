"""Decoding of PDF files, videos and sound from untrusted sources, in kept processes.

A process is started when the first file is read, and kept for the next one. Memory, processor time,
files and output of a process are bounded, and it knows nothing of the environment. A decoder that
crashes or exceeds a bound ends its process, never the caller's; the next file gets another one.
"""
