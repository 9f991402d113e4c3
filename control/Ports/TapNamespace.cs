using Dataplane.Interop.Linux;

namespace Dataplane.Control.Ports;

/// <summary>Network namespaces as resources name them: a name of <c>ip netns</c>, a path, or empty for this process's own.</summary>
internal static class TapNamespace
{
    /// <summary>Opens a namespace; null for this process's own. Dispose it soon: an open one is kept alive.</summary>
    /// <exception cref="LinuxException">There is none.</exception>
    public static NetNs? Open(string netns) => netns.Length == 0 ? null : netns.StartsWith('/') ? NetNs.OpenPath(netns) : NetNs.OpenNamed(netns);

    public static bool Exists(string netns)
    {
        try
        {
            Open(netns)?.Dispose();
            return true;
        }
        catch (LinuxException)
        {
            return false;
        }
    }

    /// <summary>Which namespace a name means now, null when none.</summary>
    public static FileIdentity? Identify(string netns)
    {
        try
        {
            using NetNs? ns = Open(netns);
            return ns?.Identity;
        }
        catch (LinuxException)
        {
            return null;
        }
    }

    public static DeviceProblem Explain(string netns, LinuxException error)
    {
        string create = netns.StartsWith('/') ? "" : $"create it with: ip netns add {netns}";
        return error.Errno is Errno.ENOENT or Errno.ESRCH
            ? new DeviceProblem("tap.netns", $"network namespace \"{netns}\" does not exist", create)
            : new DeviceProblem("tap.netns", error.Message);
    }
}
