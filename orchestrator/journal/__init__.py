"""What happened so far, on disk: runs and each of their steps, durations, locks, and the budget that runs share.

state folder (private to its user)
├── journal.db   runs, plans, intents, answers, statuses, outcomes, durations; every commit is on the disk
├── shared.db    running processes, the locks they hold, and each key's window; lives as long as the machine is up
├── owners/      one locked file for each process at work: a lock dies with its process, and so does what it held
└── salt         makes keys' hashes worthless elsewhere
"""
