"""Exports: files of a workspace's data, made in the background."""
