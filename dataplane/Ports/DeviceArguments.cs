namespace Dataplane.Ports;

/// <summary>
/// The parameters of those drivers of DPDK that do not complain of one they do not know. net_memif then ignores all of them,
/// and is a client of the default socket, whatever was asked for.
/// </summary>
public static class DeviceArguments
{
    private static readonly (string Driver, string[] Parameters)[] s_silent =
    [
        ("net_memif", ["id", "role", "bsize", "rsize", "socket", "socket-abstract", "owner-uid", "owner-gid", "mac", "zero-copy", "secret"]),
        ("net_ring", ["nodeaction", "internal"]),
        ("eth_ring", ["nodeaction", "internal"]),
    ];

    /// <summary>Gives the arguments back, if there is nothing to be said against them here.</summary>
    /// <param name="devargs">A device's name and its parameters, with commas between them.</param>
    /// <exception cref="FormatException">Names the parameter and those that there are.</exception>
    public static string Check(string devargs)
    {
        string[] parts = devargs.Split(',');
        foreach ((string driver, string[] parameters) in s_silent)
        {
            if (!parts[0].StartsWith(driver, StringComparison.Ordinal))
            {
                continue;
            }
            foreach (string part in parts[1..])
            {
                string key = part.Split('=')[0];
                if (!parameters.Contains(key))
                {
                    throw new FormatException($"\"{key}\" is not a parameter of {driver}: {string.Join(", ", parameters)}");
                }
            }
        }
        return devargs;
    }
}
