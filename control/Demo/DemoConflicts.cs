namespace Dataplane.Control.Demo;

/// <summary>What of this machine's network is in the way of a demo that uses it.</summary>
internal static class DemoConflicts
{
    /// <exception cref="DemoException">Something is, with what can be done about it.</exception>
    public static async Task CheckAsync(DemoPlan plan, CancellationToken cancel)
    {
        ToolResult routes = await Tools.RunAsync(["ip", "-json", "-4", "route", "show", "table", "all"], TimeSpan.FromSeconds(5), cancel);
        IReadOnlyList<string> conflicts = DemoPlan.Conflicts(plan.Subnet, routes.Output);
        if (conflicts.Count > 0)
        {
            throw new DemoException($"""
                {plan.Subnet} is in use on this machine: {string.Join(", ", conflicts)}
                Choose another one, for example --subnet 172.31.240.0/24, or leave this machine's network alone with --isolated.
                """);
        }
        if (Directory.Exists("/sys/class/net/" + DemoPlan.HostDevice))
        {
            throw new DemoException(
                $"a network device {DemoPlan.HostDevice} exists already (another instance of the switch?); --isolated does without it");
        }
    }
}
