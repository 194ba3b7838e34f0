"""Scheduled reports: when they are due, the exports that they make, and how those reach people and programs."""
