"""What Dagster runs, and how it is run; the only package that imports dagster.

    definitions.py   the code location: everything below, gathered when it is loaded
    table.py         read this first: a row a subject
    sensors.py       what waits on JetStream becomes a run
    jobs.py          which assets a run makes
    assets.py        events into rows; assets_knowledge.py, assets_dataset.py: what is made of rows
    checks.py        are the rows right, and do they come in time
    schedules.py     what no event starts
    housekeeping.py  old runs, old rows
    resources.py     configuration, database and embeddings, opened when a run or tick begins

A run pulls, writes with the writers of the consumer role, commits, and then acks: one that dies
leaves its messages to the next.  Dagster orchestrates; nothing here is on the way of a request.
"""
