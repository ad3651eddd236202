"""The same task as users would write it with each package: a file each, run in a process of its own."""
