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
    steps.py         how a step works and fails; metadata.py: what it says of what it did

    server.py        the role `dagster`: daemon and web server; web.py: who may ask it, leader.py:
                     one of them a database
    code.py          the role `dagster-code`: the code server, which loads definitions.py
    instance.py      what both agree on; storage.py: Dagster's tables over one pool
    launcher.py      a run is told of to run_server.py, which forks a process for it
                     (run_worker.py: how that is known again; leash.py: it never outlives us)
    compute_logs.py  what a run prints, in files; waiting.py: for what is not there yet
    budget.py        how many runs a sensor may ask for

A run pulls, writes with the writers of the consumer role, commits, and then acks: one that dies
leaves its messages to the next.  Dagster orchestrates; nothing here is on the way of a request.
"""
