"""`POST /analytics/query`: any metrics by any dimensions.

The numbers are dbt's: here a request becomes the name of a view, names of its columns, and expressions of the publication. It may
import what `analytics` may.
"""
