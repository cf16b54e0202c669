"""The composition root: settings, accounts, schedules, audit, the serving process and the command line."""
