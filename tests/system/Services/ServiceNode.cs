using System.Globalization;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Services;

/// <summary>
/// One node: containers in a network that masquerades, and an "outside" behind a routed port, which has a route to services and none to
/// containers.
/// </summary>
public sealed class ServiceNode : IDisposable
{
    public const string Outside = "198.51.100.2", Node = "198.51.100.1", Vips = "10.96.0.0/16";

    public ServiceNode()
    {
        Switch = Switch.Started("--connection-capacity", "262144"); // what thousands of requests a second leave behind for two minutes
        try
        {
            Lan = new Lan(Switch, "svc", 61, "router: {}, masquerade: true");
            Lan.AddContainers("", "client", "one", "two", "three");
            OutsideNamespace = Switch.Container("outside");
            Switch.Apply($"ports: [{{name: svc-up, routed: {{addresses: [{Node}/24]}}, tap: {{netns: {OutsideNamespace.Name}, addresses: [{Outside}/24]}}}}]");
            Switch.WaitFor("svc-up", Dataplane.Control.Api.V1.PortStatus.Types.State.Up);
            OutsideNamespace.Do("ip", "route", "add", Vips, "via", Node);
        }
        catch
        {
            Switch.Dispose();
            throw;
        }
    }

    public Switch Switch { get; }
    public Lan Lan { get; }
    public Namespace OutsideNamespace { get; }
    public Namespace Client => Lan["client"].Namespace;

    /// <summary>
    /// Clients, and the addresses that servers see them have: their own, where answers come by here anyway. One on the servers' own link
    /// would be answered directly, and so has the router's.
    /// </summary>
    public IEnumerable<(Namespace Client, string Seen)> Clients => [(OutsideNamespace, Outside), (Client, "10.61.0.1")];

    public void Dispose() => Switch.Dispose();
}

/// <summary>All tests of services share one node.</summary>
[CollectionDefinition(Name)]
public sealed class ServiceNodeTests : ICollectionFixture<ServiceNode>
{
    public const string Name = "service node";
}

/// <summary>A test with a service of its own.</summary>
[Collection(ServiceNodeTests.Name)]
public abstract class ServiceTest(ServiceNode node) : IDisposable
{
    private static int s_count;

    private readonly List<IDisposable> _owned = [];

    protected ServiceNode Node => node;

    protected Switch Switch => node.Switch;

    /// <summary>Name of the service.</summary>
    protected string Name { get; } = string.Create(CultureInfo.InvariantCulture, $"s{Interlocked.Increment(ref s_count)}");

    /// <summary>Its address.</summary>
    protected string Vip => $"10.96.0.{Name[1..]}";

    public void Dispose()
    {
        _owned.ForEach(o => o.Dispose());
        GC.SuppressFinalize(this);
    }

    /// <summary>Ends with the test.</summary>
    protected T Own<T>(T thing)
        where T : IDisposable
    {
        _owned.Add(thing);
        return thing;
    }

    protected WebServer Serve(string label, int port = 8080, int requests = 1000) => Own(new WebServer(node.Lan[label].Namespace, label, port, requests));

    /// <param name="ports">As the command line has them, with spaces between.</param>
    /// <param name="labels">Backends.</param>
    protected void MakeService(string ports, params string[] labels)
    {
        Switch.Do(["service", "add", Name, Vip, .. ports.Split(' ').SelectMany(p => new[] { "--port", p })]);
        if (labels.Length > 0)
        {
            Switch.Do(["backend", "add", Name, .. labels.Select(l => node.Lan[l].Address)]);
        }
    }
}
