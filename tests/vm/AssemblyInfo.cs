using System.Runtime.Versioning;

// One virtual machine at a time: without KVM each of them takes what processors there are.
[assembly: CollectionBehavior(DisableTestParallelization = true)]
[assembly: SupportedOSPlatform("linux")]
