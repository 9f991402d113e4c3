// DPDK's environment and its memory belong to the process: one switch at a time.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
