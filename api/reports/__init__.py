"""Reports: exports on a schedule, and the delivery of their runs by e-mail and webhook.

The scheduler turns due reports into runs with an export (due_reports, schedule); the run's deliveries are enqueued in the
transaction in which the export ends (run_repository), and a worker sends them (delivery, smtp, webhook, templates). May import
exports and everything below it; nothing but the composition roots imports reports.
"""
