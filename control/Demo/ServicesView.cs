using System.Globalization;
using Dataplane.Control.Api.V1;
using Spectre.Console;
using BackendState = Dataplane.Control.Api.V1.Backend.Types.State;

namespace Dataplane.Control.Demo;

/// <summary>
/// The demo of services until Ctrl-C: a client that asks all the time, and who answers, while one backend after the other is drained, removed and
/// added again.
/// </summary>
internal sealed class ServicesView(ServicesSession session)
{
    private static readonly TimeSpan Refresh = TimeSpan.FromSeconds(1);

    /// <summary>Refreshes between two changes.</summary>
    private const int StepLength = 4;

    private readonly Dictionary<Node, int> _served = [];
    private int _refreshes;
    private string _step = "web3 is no backend yet";

    /// <summary>Until cancelled.</summary>
    public async Task RunAsync(bool terminal, CancellationToken cancel)
    {
        await new ServicesChecks(session, new CheckList(Console.Out)).ShowHopsAsync(cancel);
        Console.WriteLine($"Try: ip netns exec {ServicesPlan.Outside.Namespace} curl {ServicesPlan.Url}   dataplane connections --instance {DemoInstance.Single.Name}   End: Ctrl-C");
        await using var loop = new RequestLoop(ServicesPlan.Client, cancel);
        if (!terminal)
        {
            while (true)
            {
                AnsiConsole.Write(await NextAsync(loop, cancel));
                await Task.Delay(Refresh, cancel);
            }
        }
        await AnsiConsole.Live(await NextAsync(loop, cancel)).StartAsync(async live =>
        {
            while (true)
            {
                live.UpdateTarget(await NextAsync(loop, cancel));
                await Task.Delay(Refresh, cancel);
            }
        });
    }

    /// <summary>Makes the next change when it is time for it.</summary>
    private async Task<Table> NextAsync(RequestLoop loop, CancellationToken cancel)
    {
        if (++_refreshes % StepLength == 0)
        {
            await ChangeAsync(_refreshes / StepLength - 1, cancel);
        }
        return await TableAsync(loop, cancel);
    }

    /// <summary>web3 is added; then web1 is drained, removed and added, then web2, and so on.</summary>
    private async Task ChangeAsync(int step, CancellationToken cancel)
    {
        if (step == 0)
        {
            await session.SetBackendAsync(ServicesPlan.Servers[2], BackendState.Ready, cancel);
            _step = "web3 was added";
            return;
        }
        Node server = ServicesPlan.Servers[(step - 1) / 3 % ServicesPlan.Servers.Count];
        switch ((step - 1) % 3)
        {
            case 0:
                await session.SetBackendAsync(server, BackendState.Draining, cancel);
                _step = $"{server.Name} drains";
                break;
            case 1:
                await session.RemoveBackendAsync(server, cancel);
                _step = $"{server.Name} was removed";
                break;
            default:
                await session.SetBackendAsync(server, BackendState.Ready, cancel);
                _step = $"{server.Name} was added again";
                break;
        }
    }

    private async Task<Table> TableAsync(RequestLoop loop, CancellationToken cancel)
    {
        IReadOnlyList<Backend> backends = await session.Daemon.BackendsAsync(cancel);
        IReadOnlyList<Connection> connections = await session.Daemon.ConnectionsAsync(cancel);
        Table table = new Table().Border(TableBorder.Simple).AddColumn($"{ServicesPlan.ServiceName} {ServicesPlan.Vip}:{ServicesPlan.Port}").AddColumn("state")
            .AddColumn(new TableColumn("requests/s").RightAligned()).AddColumn(new TableColumn("connections").RightAligned());
        foreach (Node server in ServicesPlan.Servers)
        {
            int before = _served.GetValueOrDefault(server), now = _served[server] = session.Served(server);
            BackendState? state = backends.FirstOrDefault(b => b.Address == $"{server.Address}")?.State;
            table.AddRow($"{server.Name} {server.Address}", state is { } s ? $"{s}" : "-", Text($"{now - before:N0}"),
                Text($"{connections.Count(c => c.Service == ServicesPlan.ServiceName && c.Reply.Source == $"{server.Address}"):N0}"));
        }
        return table.Caption(Text($"{_step}\n{loop.Answered:N0} requests of {ServicesPlan.Client.Name} answered, {loop.Failed} failed"));
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
