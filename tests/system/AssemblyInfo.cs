using System.Runtime.Versioning;

// Tests compare counters and count lost packets: one at a time, so that none steals another's processor.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
[assembly: SupportedOSPlatform("linux")]
