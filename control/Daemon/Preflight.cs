using Dataplane.Interop.Linux;

namespace Dataplane.Control.Daemon;

/// <summary>What can be known to be missing before anything is touched.</summary>
internal static class Preflight
{
    /// <summary>Everything that is missing, each with its remedy.</summary>
    public static IReadOnlyList<string> Problems(DaemonOptions options)
    {
        var problems = new List<string>();
        if (LinuxProcess.EffectiveUserId != 0)
        {
            problems.Add("not root: TAP devices and network namespaces need it; run it with sudo");
        }
        else if (!File.Exists("/dev/net/tun"))
        {
            problems.Add("/dev/net/tun is missing: load the driver with `modprobe tun`; in a container, add --device /dev/net/tun --cap-add NET_ADMIN");
        }
        if (!Directory.Exists(options.Paths.SegmentDirectory))
        {
            problems.Add($"{options.Paths.SegmentDirectory} is missing: mount it with `mount -t tmpfs tmpfs {options.Paths.SegmentDirectory}`");
        }
        problems.AddRange(options.Segment.Problems());
        if (options.Engine.Workers > options.Segment.MaxWorkers)
        {
            problems.Add($"{options.Engine.Workers} workers are more than the {options.Segment.MaxWorkers} that the segment has room for");
        }
        if (options.SocketGroup is { } group && Api.SocketGroup.Find(group) is null)
        {
            problems.Add($"there is no group \"{group}\": make it with `groupadd {group}`");
        }
        return problems;
    }
}
