"""Numbers over many records: benchmarks, metrics, statistics, audits. Only here are truths read."""
