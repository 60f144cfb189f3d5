"""Numbers over many records: metrics, statistics, audits, contamination. Only here are truths read."""
