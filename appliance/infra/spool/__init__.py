"""The local record of exchanges on their way to JetStream.  Step 10 of the path.

    <directory>/                              `[spool] dir`, else STATE/spool
        <unix ms>-<pid>-<random>/             one per process, flock'ed while that process lives
            00000001.seg 00000002.seg …       frames (frames.py), appended, never rewritten
            progress                          how far everything is acked
        poison.jsonl                          records that can never be shipped, with the reason

Use, in a composition root:

    spool = Spool(directory, config.spool)
    async with spool, Shipper(spool, config.nats, host):      # infra/nats/shipper/shipper.py
        spool.keep(exchange)     # ExchangeSink: synchronous, microseconds
        spool.stats()            # numbers for metrics
        spool.degraded           # "" or the reason, for /ready

A directory whose process is gone is adopted: shipped from where it was, then removed.
"""
